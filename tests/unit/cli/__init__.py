"""Tests of zenwatch/cli, called as users call it."""
