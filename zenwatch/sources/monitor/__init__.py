"""What is observed of each source: silence, and fields that are missing."""
