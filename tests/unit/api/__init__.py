"""zenwatch/api: what the commands ask a running zenwatch."""
