"""Allow a number of acts per second, so that zenwatch is never the reason why a server is slow."""

import asyncio

from zenwatch.contract import Clock


class TokenBucket:
    """rate_per_sec: how many tokens are added per second. burst: how many fit, so that many may go at once; None: a second's worth."""

    def __init__(self, clock: Clock, rate_per_sec: float, *, burst: float | None = None) -> None:
        self._clock = clock
        self._rate = rate_per_sec
        self._capacity = self._tokens = max(1.0, rate_per_sec if burst is None else burst)
        self._filled_at_secs = clock.monotonic_secs()
        # Only the head of the queue waits for a token: asyncio.Lock admits in the order of arrival, and who is cancelled took no token.
        self._queue = asyncio.Lock()
        self._never = asyncio.Event()

    async def take(self) -> None:
        """Wait for a token and remove it."""
        async with self._queue:
            self._fill()
            if self._tokens < 1.0:
                await self._clock.wait(self._never, timeout_secs=(1.0 - self._tokens) / self._rate)
                self._fill()
            self._tokens -= 1.0

    def _fill(self) -> None:
        now_secs = self._clock.monotonic_secs()
        self._tokens = min(self._capacity, self._tokens + (now_secs - self._filled_at_secs) * self._rate)
        self._filled_at_secs = now_secs
