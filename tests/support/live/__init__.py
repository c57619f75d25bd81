"""Run zenwatch against a real API server, and ask both of them from outside."""
