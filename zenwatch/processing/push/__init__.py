"""Store what tools post."""
