"""Tests of zenwatch/store."""
