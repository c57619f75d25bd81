"""The one HTTP server: who may ask what (auth, routes), webhooks, probes, metrics."""
