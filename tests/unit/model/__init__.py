"""Tests of zenwatch/model."""
