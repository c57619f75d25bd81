"""Pipelines from an intake to the store: all parts are real but the store and the clock."""
