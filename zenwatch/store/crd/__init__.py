"""Records as custom resources of one API server."""
