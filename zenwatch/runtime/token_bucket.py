"""Keep below a number of requests per second, so that zenwatch is never why an API server is slow.

In: requests that want to go.  Out: the same, in time.
Owns: a bucket of one second's worth.
Stops: nothing to stop.
"""

import asyncio
from time import monotonic


class TokenBucket:
    def __init__(self, rate_per_sec: float) -> None:
        self._rate = rate_per_sec
        self._most = max(1.0, rate_per_sec)
        self._left = self._most
        self._counted_at = monotonic()

    async def take(self) -> None:
        """Return when one more request may go. Those who wait go in the order they came."""
        now = monotonic()
        self._left = min(self._most, self._left + (now - self._counted_at) * self._rate)
        self._counted_at = now
        self._left -= 1.0
        if self._left < 0.0:
            try:
                await asyncio.sleep(-self._left / self._rate)
            except asyncio.CancelledError:
                # Who gives up does not hold back those behind.
                self._left += 1.0
                raise
