"""Pushed events on disk."""
