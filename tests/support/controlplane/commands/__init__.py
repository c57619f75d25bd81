"""Commands for a person at a terminal: a demo, and a control plane that stays in the foreground."""
