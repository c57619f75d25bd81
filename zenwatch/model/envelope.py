"""An envelope: an event on its way to the store, and the receipt that comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
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
    seen_at: becomes status.lastSeen where the count is written; None: the time of the write.
    is_exact: the count was reckoned from `stored`. If the store has something else, nothing is written and the receipt is surprised.
    """

    event: Event
    spec_hash: str
    count: int
    stored: Stored | None
    seen_at: datetime | None = None
    is_exact: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """outcome None: not settled. Either the writer could not reach the store, and the same write has to be tried again later;
    or it is surprised: the store has `stored` (None: nothing), which is not what an exact write was made for.
    """

    outcome: Outcome | None
    stored: Stored | None = None
    is_surprised: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """done is called exactly once, on the event loop, whatever becomes of the write."""

    write: Write
    done: Callable[[Receipt], None]
