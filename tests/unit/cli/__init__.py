"""Tests of zenwatch/cli, through the entrance that users take."""
