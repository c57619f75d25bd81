"""What waits in a buffer between a webhook and the store."""

from dataclasses import dataclass

from zenwatch.model.event import Event
from zenwatch.model.record import Stored


@dataclass(frozen=True, slots=True)
class Intent:
    """A write that counts sightings, announced before it is made: after a crash nothing else shows whether it was made.

    event: as it will be stored. count: the status.count that the write sets. sightings: how many of them the write adds.
    is_new: the record does not exist before it. carries: the message ids of the events that the sightings are.
    """

    event: Event
    spec_hash: str
    count: int
    sightings: int
    is_new: bool
    carries: tuple[int, ...]

    def is_stored_as(self, stored: Stored | None) -> bool:
        """Whether the stored record is the one that this write makes: only the answer was lost, and its sightings are counted."""
        return stored is not None and stored.spec_hash == self.spec_hash


@dataclass(frozen=True, slots=True)
class QueuedEvent:
    """An event that an inbox gives out.

    message_id: the inbox's own number for it. intent: the write that was to store it before a crash.
    is_new_here: this process did not accept it, or not lately: the accounts do not know it.
    sightings: how many it stands for; more than one only where a dead letter came back.
    """

    event: Event
    message_id: int
    intent: Intent | None = None
    is_new_here: bool = False
    sightings: int = 1


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
    """An event that the store refuses. reason: the store's sentence. refused_at: RFC 3339.

    target: where all writes are refused for the time being: the event comes back once they are taken again. Empty: this event is refused
    for good, and only a person has it tried again. sightings: how many the refused write was to count.
    """

    event: Event
    reason: str
    refused_at: str
    target: str = ""
    sightings: int = 1
