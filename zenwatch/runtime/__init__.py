"""What keeps the process running: the wiring, supervised tasks, time."""
