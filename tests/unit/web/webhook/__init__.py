"""zenwatch/web/webhook: from a request to the hook."""
