"""Tests of zenwatch/sources."""
