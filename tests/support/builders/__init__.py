"""Build what flows through zenwatch, complete and valid: a test names only what it is about."""
