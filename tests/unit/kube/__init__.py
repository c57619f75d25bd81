"""Tests of zenwatch/kube."""
