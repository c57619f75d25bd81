"""Rules for code and documents that a test can check: they need no server and no event loop."""
