"""An envelope: an event on its way to the store, and the receipt that comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from zenwatch.model.event import Event
from zenwatch.model.record import Status, Stored


class Outcome(StrEnum):
    """The lines of the ledger: received = the sum of these + in flight."""

    STORED = "stored"
    REPEATED = "repeated"
    FILTERED = "filtered"
    REJECTED = "rejected"
    DEAD_LETTERED = "dead_lettered"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Upsert:
    """An event that has to be stored.

    stored: what is there now as far as we know; None: create it. report: that says it; empty for a pushed one.
    is_exact: the status was reckoned from `stored`. If the store has something else, nothing is written and the receipt is surprised.
    """

    event: Event
    spec_hash: str
    status: Status
    stored: Stored | None
    report: str = ""
    is_exact: bool = False

    @property
    def name(self) -> str:
        return self.event.name

    @property
    def source(self) -> str:
        return self.event.source


@dataclass(frozen=True, slots=True)
class _OfStored:
    """What has to happen to a record that is there. If the store has something else than `stored`, the receipt is surprised."""

    stored: Stored

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def source(self) -> str:
        return self.stored.source


@dataclass(frozen=True, slots=True)
class SetStatus(_OfStored):
    """It gets a new status."""

    status: Status


@dataclass(frozen=True, slots=True)
class Delete(_OfStored):
    """It is deleted."""


WriteRequest = Upsert | SetStatus | Delete


@dataclass(frozen=True, slots=True)
class WriteResult:
    """outcome None: not settled. Either the writer could not reach the store, and the same write has to be tried again later;
    or it is surprised: the store has `stored` (None: nothing, or what we do not know), which is not what it was made for.
    """

    outcome: Outcome | None
    stored: Stored | None = None
    is_conflict: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """done is called exactly once, on the event loop, whatever becomes of the write."""

    request: WriteRequest
    done: Callable[[WriteResult], None]
