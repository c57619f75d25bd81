"""A file or a folder for each security tool: a declaration, and the pure functions that it names."""
