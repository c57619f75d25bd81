"""Pushed events that wait to be stored, in memory and bounded.

In: events from processing/push, a whole body at a time.  Out: the same events, one by one, in order.
Owns: at most `capacity_events` events that were not released; one larger batch where it was empty. Full means that offer() refuses.
Stops: close() takes nothing more; what is in it can still be received, then Closed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from zenwatch.errors import Closed
from zenwatch.metrics import BUFFER_CAPACITY, BUFFER_EVENTS
from zenwatch.model.event import Event
from zenwatch.model.queue import Fill, Intent, QueuedEvent
from zenwatch.model.refs import Origin


class MemoryInbox:
    is_durable = False

    def __init__(self, origin: Origin, *, capacity_events: int) -> None:
        self._capacity_events = capacity_events
        self._queued: deque[QueuedEvent] = deque()
        self._last_message_id = 0
        self._unreleased = 0
        self._closed = False
        self._news = asyncio.Event()
        self._on_taken: Callable[[int], None] = lambda _events: None
        self._gauge = BUFFER_EVENTS.labels(*origin)
        BUFFER_CAPACITY.labels(*origin).set(capacity_events)

    @property
    def fill(self) -> Fill:
        return Fill(self._unreleased, self._capacity_events)

    @property
    def is_pressed(self) -> bool:
        return 2 * self._unreleased >= self._capacity_events

    def call_when_taken(self, call: Callable[[int], None]) -> None:
        self._on_taken = call

    async def offer(self, events: Sequence[Event]) -> bool:
        if self._closed or (self._unreleased and self._unreleased + len(events) > self._capacity_events):
            return False
        for event in events:
            self._last_message_id += 1
            self._queued.append(QueuedEvent(event, self._last_message_id))
        self._count(len(events))
        self._on_taken(len(events))
        self._news.set()
        return True

    async def receive(self) -> QueuedEvent:
        while not self._queued:
            if self._closed:
                raise Closed("the inbox is closed and empty")
            self._news.clear()
            await self._news.wait()
        return self._queued.popleft()

    def release(self, message_ids: Sequence[int]) -> None:
        self._count(-len(message_ids))

    async def intend(self, intents: Sequence[Intent]) -> None:
        """Memory ends with the process, and intents with it."""

    def settle(self, message_ids: Sequence[int]) -> None:
        """Nothing is kept that could be given out again."""

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def _count(self, events: int) -> None:
        self._unreleased += events
        self._gauge.set(self._unreleased)
