"""Pushed events that wait to be stored, in memory and bounded.

In: events from processing/push, a whole body at a time.  Out: the same events, one by one, in order.
Owns: at most `capacity_events` events that were not released, as many again within the shares of other namespaces; one larger batch where
it was empty. Full means that offer() refuses. And the dead letters that are to come back, MOST_LETTERS at most.
Stops: close() takes nothing more; what is in it can still be received, then Closed.
"""

import asyncio
from collections import Counter as Tally
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from zenwatch.errors import Closed
from zenwatch.metrics import BUFFER_CAPACITY, BUFFER_EVENTS
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Fill, Intent, QueuedEvent
from zenwatch.model.refs import Origin

log = structlog.get_logger(component="buffer")


# The share of a namespace is one part in so many.
SHARE_PART = 10
# Each about 3 KiB.
MOST_LETTERS = 1000


class MemoryDeadLetters:
    """contract.DeadLetters without a spool: a line in the log; what may be taken later is kept, the newest ones."""

    def __init__(self) -> None:
        self._letters: deque[DeadLetter] = deque(maxlen=MOST_LETTERS)
        self._inboxes: dict[Origin, MemoryInbox] = {}

    def inbox(self, origin: Origin, *, capacity_events: int) -> "MemoryInbox":
        self._inboxes[origin] = inbox = MemoryInbox(origin, capacity_events=capacity_events)
        return inbox

    async def put(self, letter: DeadLetter) -> None:
        event = letter.event
        log.error("dead_letter", source=event.source, name=event.name, key=event.key, reason=letter.reason)
        if letter.target:
            self._letters.append(letter)

    async def bring_back(self, target: str, most: int) -> int:
        letters = [letter for letter in self._letters if letter.target == target]
        came_back = 0
        for letter in letters[:most]:
            event = letter.event
            if not self._inboxes[Origin(event.cluster_id, event.source)].offer_again(event, letter.sightings):
                break
            self._letters.remove(letter)
            came_back += 1
        return len(letters) - came_back


class MemoryInbox:
    """A namespace that holds less than its share gets in beside others that fill the capacity, up to twice the capacity in all."""

    is_durable = False

    def __init__(self, origin: Origin, *, capacity_events: int) -> None:
        self._capacity_events = capacity_events
        self._share_events = capacity_events // SHARE_PART
        self._queued: deque[QueuedEvent] = deque()
        self._last_message_id = 0
        # Message id → namespace of the event.
        self._unreleased: dict[int, str] = {}
        self._by_namespace: Tally[str] = Tally()
        self._closed = False
        self._news = asyncio.Event()
        self._on_taken: Callable[[int], None] = lambda _events: None
        self._gauge = BUFFER_EVENTS.labels(*origin)
        BUFFER_CAPACITY.labels(*origin).set(capacity_events)

    @property
    def fill(self) -> Fill:
        return Fill(len(self._unreleased), self._capacity_events)

    @property
    def is_pressed(self) -> bool:
        return 2 * len(self._unreleased) >= self._capacity_events

    def call_when_taken(self, call: Callable[[int], None]) -> None:
        self._on_taken = call

    async def offer(self, events: Sequence[Event]) -> bool:
        if self._closed or not self._has_space(events):
            return False
        for event in events:
            self._add(event, is_new_here=False)
        self._on_taken(len(events))
        self._news.set()
        return True

    def offer_again(self, event: Event, sightings: int) -> bool:
        """An event that was settled as a dead letter and stands for so many. False: there is no space."""
        if self._closed or len(self._unreleased) >= self._capacity_events:
            return False
        self._add(event, is_new_here=True, sightings=sightings)
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
        for message_id in message_ids:
            namespace = self._unreleased.pop(message_id)
            self._by_namespace[namespace] -= 1
            if not self._by_namespace[namespace]:
                del self._by_namespace[namespace]
        self._gauge.set(len(self._unreleased))

    async def intend(self, intents: Sequence[Intent]) -> None:
        """Memory ends with the process, and intents with it."""

    def settle(self, message_ids: Sequence[int]) -> None:
        """Nothing is kept that could be given out again."""

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def _has_space(self, events: Sequence[Event]) -> bool:
        held, wanted = len(self._unreleased), len(events)
        if not held or held + wanted <= self._capacity_events:
            return True
        added = Tally(event.resource.namespace for event in events)
        is_within_shares = all(self._by_namespace[namespace] + more <= self._share_events for namespace, more in added.items())
        return is_within_shares and held + wanted <= 2 * self._capacity_events

    def _add(self, event: Event, *, is_new_here: bool, sightings: int = 1) -> None:
        self._last_message_id += 1
        self._unreleased[self._last_message_id] = event.resource.namespace
        self._by_namespace[event.resource.namespace] += 1
        self._queued.append(QueuedEvent(event, self._last_message_id, is_new_here=is_new_here, sightings=sightings))
        self._gauge.set(len(self._unreleased))
