"""Events that tools post."""
