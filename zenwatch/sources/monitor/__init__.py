"""What is observed of each source: silence, fields that are missing, and reports that cannot be read."""
