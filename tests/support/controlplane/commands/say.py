"""Print lines of progress for the user at the terminal."""

from collections.abc import Callable

Say = Callable[[str], None]


def say_on_terminal(line: str) -> None:
    """Flush at once, because a user may read it through a pipe."""
    print(line, flush=True)
