"""Tests of zenwatch/doctor."""
