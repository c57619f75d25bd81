"""Time as components see it, so that a test can move it."""

import asyncio
from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic_secs(self) -> float:
        """Seconds since an arbitrary moment: only differences mean something."""
        ...

    async def wait(self, event: asyncio.Event, *, timeout_secs: float) -> bool:
        """Return True as soon as event is set, False after timeout_secs."""
        ...
