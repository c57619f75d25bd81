"""One test file per file of the code, with everything around it replaced by tests/fakes."""
