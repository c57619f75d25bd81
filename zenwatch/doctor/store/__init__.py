"""The area store: whether records can be written."""
