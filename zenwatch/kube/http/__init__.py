"""One HTTP request to an API server, and what its answer means."""
