"""What a command printed."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Shown:
    code: int
    out: str
    err: str


Zenwatch = Callable[..., Shown]
