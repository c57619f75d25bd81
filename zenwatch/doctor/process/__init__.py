"""The area process: what the running zenwatch answers, and what that means."""
