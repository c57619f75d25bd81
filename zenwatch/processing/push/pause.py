"""How long to wait after writes that failed."""

import asyncio

from zenwatch.contract import Clock
from zenwatch.runtime.backoff import backoff_secs

# What waits for an API server is written so soon after it is back.
LONGEST_PAUSE_SECS = 5.0


class Pause:
    """Writes that are on their way together fail together: that is one failure."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._until_secs = float("-inf")
        self._never = asyncio.Event()

    async def wait(self) -> None:
        if (wait_secs := self._until_secs - self._clock.monotonic_secs()) > 0:
            await self._clock.wait(self._never, timeout_secs=wait_secs)

    def extend(self, error: Exception | None = None) -> None:
        now_secs = self._clock.monotonic_secs()
        if now_secs >= self._until_secs:
            self._failures += 1
            self._until_secs = now_secs + backoff_secs(self._failures, error, cap_secs=LONGEST_PAUSE_SECS)

    def end(self) -> None:
        self._failures = 0
