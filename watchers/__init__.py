"""One file per security tool: a frozen declaration and one pure parse()."""
