"""Tests of zenwatch/transform."""
