"""Settings: the reader of environment variables, and what all components share."""
