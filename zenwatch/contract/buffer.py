"""Where pushed events wait between a webhook and the store."""

from collections.abc import Callable, Sequence
from typing import Protocol

from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Fill, Intent, QueuedEvent


class Inbox(Protocol):
    """Bounded, in memory or on disk. Each event is received once, released once and settled once."""

    @property
    def is_durable(self) -> bool:
        """An event that was accepted and not settled is received again after a restart."""
        ...

    @property
    def is_pressed(self) -> bool:
        """The inbox is half full: whatever can be stored should be stored now."""
        ...

    @property
    def fill(self) -> Fill: ...

    def call_when_taken(self, call: Callable[[int], None]) -> None:
        """call(events) for every batch that is accepted, before any of it is received."""
        ...

    async def offer(self, events: Sequence[Event]) -> bool:
        """Accept all events or none, and return when they are as safe as they will be.

        False: the inbox is full or closed, or the disk refuses; the caller answers so that a sender who retries comes back. A batch that
        is larger than the capacity is accepted if the inbox is empty: sending it again would not make it smaller.
        """
        ...

    async def receive(self) -> QueuedEvent:
        """Return the next event, in the order of the offers. Raises Closed once the inbox is closed and everything was received."""
        ...

    def release(self, message_ids: Sequence[int]) -> None:
        """These events need no memory any more: they are settled, or became part of another event's write."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> None:
        """Return once it is safe to make these writes. Each intent replaces an earlier one for the same record."""
        ...

    def settle(self, message_ids: Sequence[int]) -> None:
        """The outcome of these events is known: never give them out again."""
        ...

    def close(self) -> None:
        """Accept nothing more; what is in the inbox can still be received."""
        ...


class DeadLetters(Protocol):
    """Where events go that no record will show."""

    async def put(self, letter: DeadLetter) -> None:
        """Keep it where a person can look at it. Raises nothing: at worst it is a line in the log."""
        ...

    async def bring_back(self, target: str, most: int) -> int:
        """Give the oldest letters of this target out again, as events of their inbox. Return how many are left."""
        ...
