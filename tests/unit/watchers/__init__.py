"""Tests of watchers/."""
