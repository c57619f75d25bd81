"""The real time, behind contract.Clock."""

import asyncio
from datetime import UTC, datetime
from time import monotonic


class SystemClock:
    """contract.Clock of the running process."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_secs(self) -> float:
        return monotonic()

    async def wait(self, event: asyncio.Event, *, timeout_secs: float) -> bool:
        try:
            async with asyncio.timeout(timeout_secs):
                await event.wait()
        except TimeoutError:
            return False
        return True
