"""Where findings come in: objects (list and watch) and poll (the round)."""
