"""Where copies of records go."""
