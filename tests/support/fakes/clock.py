"""contract.Clock, moved by the test."""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic

from tests.support.tasks import patience

START = datetime(2026, 1, 1, tzinfo=UTC)


class FakeClock:
    """Time moves by advance() only. skips_waits: each wait ends at once and moves the clock by its length.

    waits: the timeout of each wait() so far, in seconds.
    """

    def __init__(self, *, skips_waits: bool = False) -> None:
        self.waits: list[float] = []
        self._skips_waits = skips_waits
        self._passed_secs = 0.0
        self._waiting: dict[asyncio.Timeout, float] = {}
        self._someone_waits = asyncio.Event()

    def now(self) -> datetime:
        return START + timedelta(seconds=self._passed_secs)

    def monotonic_secs(self) -> float:
        return self._passed_secs

    async def wait(self, event: asyncio.Event, *, timeout_secs: float) -> bool:
        self.waits.append(timeout_secs)
        if self._skips_waits:
            await asyncio.sleep(0)
            if not event.is_set():
                self._passed_secs += timeout_secs
            return event.is_set()
        try:
            async with asyncio.timeout(None if timeout_secs > 0 else 0) as waiting:
                self._waiting[waiting] = self._passed_secs + timeout_secs
                self._someone_waits.set()
                try:
                    await event.wait()
                finally:
                    del self._waiting[waiting]
                    if not self._waiting:
                        self._someone_waits.clear()
        except TimeoutError:
            return False
        return True

    def advance(self, *, secs: float) -> None:
        """Every wait() that ends by then returns as soon as the loop runs again."""
        self._passed_secs += secs
        for waiting, until_secs in self._waiting.items():
            if until_secs <= self._passed_secs:
                waiting.reschedule(asyncio.get_running_loop().time())

    async def until_someone_waits(self) -> None:
        """Return as soon as some task is inside wait(), so that advance() has a task to wake."""
        async with patience():
            await self._someone_waits.wait()

    async def pass_one_wait(self) -> float:
        """Wait for a wait() and let its time run out. Return its length in seconds."""
        await self.until_someone_waits()
        secs = self.waits[-1]
        self.advance(secs=secs)
        self._someone_waits.clear()
        return secs


class MovedClock:
    """The real time plus what the test has added. Call advance() from any thread; one clock may serve several processes in turn."""

    def __init__(self) -> None:
        self._ahead_secs = 0.0
        self._waiting: dict[asyncio.Timeout, tuple[asyncio.AbstractEventLoop, float]] = {}

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._ahead_secs)

    def monotonic_secs(self) -> float:
        return monotonic() + self._ahead_secs

    async def wait(self, event: asyncio.Event, *, timeout_secs: float) -> bool:
        until_secs = self.monotonic_secs() + timeout_secs
        try:
            async with asyncio.timeout(timeout_secs) as waiting:
                self._waiting[waiting] = asyncio.get_running_loop(), until_secs
                try:
                    await event.wait()
                finally:
                    del self._waiting[waiting]
        except TimeoutError:
            return False
        return True

    def advance(self, *, secs: float) -> None:
        """Every wait() that ends by then returns as soon as its loop runs again."""
        self._ahead_secs += secs
        for loop in {loop for loop, _ in list(self._waiting.values())}:
            loop.call_soon_threadsafe(self._wake, loop)

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        for waiting, (waits_in, until_secs) in list(self._waiting.items()):
            if waits_in is loop:
                waiting.reschedule(loop.time() + max(0.0, until_secs - self.monotonic_secs()))
