"""zenwatch: every Kubernetes security finding, once, as one kind of record. Start reading in ARCHITECTURE.md."""
