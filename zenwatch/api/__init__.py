"""Answers of a running zenwatch to questions about itself."""
