"""The change feed: what downstream components read."""
