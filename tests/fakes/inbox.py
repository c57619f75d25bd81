"""contract.Inbox as a bounded list: the smallest thing that keeps the promise."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from zenwatch.errors import Closed
from zenwatch.model.envelope import Outcome


class ListInbox:
    """settled: what became of each event that was received and settled."""

    def __init__(self, *, capacity_events: int) -> None:
        self.settled: list[tuple[Any, Outcome]] = []
        self._capacity_events = capacity_events
        self._events: deque[Any] = deque()
        self._closed = False
        self._news = asyncio.Event()

    def offer(self, events: Sequence[Any]) -> bool:
        if self._closed or len(self._events) + len(events) > self._capacity_events:
            return False
        self._events.extend(events)
        self._news.set()
        return True

    async def receive(self) -> tuple[Any, Callable[[Outcome], None]]:
        while not self._events:
            if self._closed:
                raise Closed("the inbox is closed and empty")
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        return event, partial(self._settle, event)

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def _settle(self, event: Any, outcome: Outcome) -> None:
        self.settled.append((event, outcome))
