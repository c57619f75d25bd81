"""Plain lines of progress for the person at the terminal."""

from collections.abc import Callable

Say = Callable[[str], None]


def say_on_terminal(line: str) -> None:
    """Flushed at once: whoever reads it through a pipe is waiting for it."""
    print(line, flush=True)
