"""The one server: webhooks, health, metrics."""
