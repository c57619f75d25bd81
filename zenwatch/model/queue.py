"""What lies in a buffer between a webhook and the store, and what is said of it."""

from dataclasses import dataclass

from zenwatch.model.event import Event


@dataclass(frozen=True, slots=True)
class Intent:
    """A write that counts sightings, said before it is made: after a crash nobody else knows whether it was.

    event: as it will be stored. count: what status.count will be. sightings: how many of them the write adds.
    is_new: the record was not there before. carries: the tickets of the events that the sightings are.
    """

    event: Event
    spec_hash: str
    count: int
    sightings: int
    is_new: bool
    carries: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event out of an inbox.

    ticket: the inbox's own number for it. intent: of the write that was to store it before a crash.
    is_new_here: it was not offered to this process, or not lately: the ledger does not know it.
    """

    event: Event
    message_id: int
    intent: Intent | None = None
    is_new_here: bool = False


@dataclass(frozen=True, slots=True)
class Fill:
    """How full a buffer is. unit: events or bytes."""

    used: int
    capacity: int
    unit: str = "events"

    @property
    def is_full(self) -> bool:
        return self.used >= self.capacity


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that the store refuses for good. reason: the store's sentence. refused_at: RFC 3339."""

    event: Event
    reason: str
    refused_at: str
