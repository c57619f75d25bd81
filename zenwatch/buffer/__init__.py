"""Between a webhook and the worker: where pushed events wait."""
