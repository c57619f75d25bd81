"""Pushed events that wait to be stored, in memory and bounded.

In: events from transform/stream, a whole body at a time.  Out: the same events, one by one, in order.
Owns: at most `capacity_events` events that were not released; one larger batch where it was empty. Full means that offer() refuses.
Stops: close() takes nothing more; what is in it can still be received, then Closed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from zenwatch.errors import Closed
from zenwatch.metrics import BUFFER_CAPACITY, BUFFER_EVENTS
from zenwatch.model.event import Event


class MemoryInbox:
    def __init__(self, source: str, *, capacity_events: int) -> None:
        self.capacity_events = capacity_events
        self._events: deque[Event] = deque()
        self._unreleased = 0
        self._closed = False
        self._news = asyncio.Event()
        self._fill = BUFFER_EVENTS.labels(source)
        BUFFER_CAPACITY.labels(source).set(capacity_events)

    def __len__(self) -> int:
        return self._unreleased

    def offer(self, events: Sequence[Event]) -> bool:
        if self._closed or (self._unreleased and self._unreleased + len(events) > self.capacity_events):
            return False
        self._events.extend(events)
        self._count(len(events))
        self._news.set()
        return True

    async def receive(self) -> tuple[Event, Callable[[], None]]:
        while not self._events:
            if self._closed:
                raise Closed("the inbox is closed and empty")
            self._news.clear()
            await self._news.wait()
        return self._events.popleft(), self._release

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def _release(self) -> None:
        self._count(-1)

    def _count(self, events: int) -> None:
        self._unreleased += events
        self._fill.set(self._unreleased)
