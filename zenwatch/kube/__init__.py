"""The edge to the Kubernetes API. No other package knows the client library or an API server's status codes."""
