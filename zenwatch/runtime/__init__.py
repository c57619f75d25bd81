"""What each component with a task uses: supervised tasks, the clock, pauses between attempts."""
