"""The edge to the Kubernetes API: the only place that knows the client library, HTTP and status codes."""
