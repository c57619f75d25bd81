"""An envelope: an event on its way to the store, and the receipt that comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from zenwatch.model.event import Event
from zenwatch.model.record import Stored


class Outcome(StrEnum):
    """The lines of the ledger: received = the sum of these + in flight."""

    STORED = "stored"
    REPEATED = "repeated"
    FILTERED = "filtered"
    REJECTED = "rejected"
    DEAD_LETTERED = "dead_lettered"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Write:
    """What has to happen to one record.

    stored: what is there now as far as we know; None: create it.
    count: what status.count is to be, at least 1.
    """

    event: Event
    spec_hash: str
    count: int
    stored: Stored | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """outcome None: not settled; the writer could not reach the store, so the same write has to be tried again later."""

    outcome: Outcome | None
    stored: Stored | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """done is called exactly once, on the event loop, whatever becomes of the write."""

    write: Write
    done: Callable[[Receipt], None]
