"""From finding to write: normalise, score, group, dedup, lifecycle, and reconcile, which calls them in that order."""
