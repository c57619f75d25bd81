"""What a command printed."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    code: int
    out: str
    err: str


Zenwatch = Callable[..., Shown]


# What moves a cursor, begins an escape sequence, ends a line, changes the direction of the text, or cannot be seen.
ODD_CHARACTERS = (
    "\x00",
    "\x07",
    "\n",
    "\r",
    "\x1b",
    "\x7f",
    "\x9b",
    "\u2028",
    "\u200b",
    "\u202e",
    "\u2066",
    "\u2069",
    "\ufeff",
    "\U000e0041",
)
