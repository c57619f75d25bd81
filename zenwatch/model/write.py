"""A write on its way to the store, and the result that comes back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from zenwatch.model.event import Event
from zenwatch.model.record import Status, Stored
from zenwatch.model.refs import Origin, ReportRef


class Outcome(StrEnum):
    """How a finding ends: received = the sum of these + in flight."""

    STORED = "stored"
    REPEATED = "repeated"
    FILTERED = "filtered"
    REJECTED = "rejected"
    DEAD_LETTERED = "dead_lettered"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Upsert:
    """Store an event: create its record, or update the record that is there.

    stored: the record as last known; None: create it. report: the report that holds the event; None for a pushed event.
    is_exact: the status was computed from `stored`. If the store has something else, nothing is written and the result is a conflict.
    """

    event: Event
    spec_hash: str
    status: Status
    stored: Stored | None
    report: ReportRef | None = None
    is_exact: bool = False

    @property
    def name(self) -> str:
        return self.event.name

    @property
    def source(self) -> str:
        return self.event.source


@dataclass(frozen=True, slots=True)
class _OfStored:
    """A request about a record that exists. If the store has something else than `stored`, the result is a conflict."""

    stored: Stored

    @property
    def name(self) -> str:
        return self.stored.name

    @property
    def source(self) -> str:
        return self.stored.source


@dataclass(frozen=True, slots=True)
class SetStatus(_OfStored):
    """Replace the record's status."""

    status: Status


@dataclass(frozen=True, slots=True)
class Delete(_OfStored):
    """Delete the record."""


WriteRequest = Upsert | SetStatus | Delete


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What became of a write.

    outcome None: not settled. Either the writer could not reach the store, and the same write is tried again later; or it is a
    conflict: the store has `stored` (None: nothing, or something unknown), which is not what the write was made for; or it is refused:
    the store takes other writes, but not this one for the time being.
    """

    outcome: Outcome | None
    stored: Stored | None = None
    is_conflict: bool = False
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """The findings that end with a write.

    findings: how many. key: of the event, for the outcome log; empty: the log does not mention it. why: a sentence for each outcome.
    is_new: whether one of them makes the record; None: one does if anything was stored. is_withdrawn: no report holds them any more.
    """

    origin: Origin
    findings: int
    key: str = ""
    why: Mapping[Outcome, str] | None = None
    is_new: bool | None = None
    is_withdrawn: bool = False

    def shares(self, outcome: Outcome) -> dict[Outcome, int]:
        """Of several findings that became one record, one is stored and the others repeat it."""
        if self.is_withdrawn:
            return {Outcome.FILTERED: self.findings}
        if outcome not in (Outcome.STORED, Outcome.REPEATED):
            return {outcome: self.findings}
        is_stored = outcome is Outcome.STORED if self.is_new is None else self.is_new
        stored = min(self.findings, 1) if is_stored else 0
        return {Outcome.STORED: stored, Outcome.REPEATED: self.findings - stored}

    def outcome_of_event(self, outcome: Outcome) -> Outcome:
        return Outcome.REPEATED if outcome is Outcome.STORED and self.is_new is False else outcome


@dataclass(frozen=True, slots=True)
class Envelope:
    """done is called exactly once, on the event loop, whatever becomes of the request. entry: settled by the writer with the outcome.

    waits: called at most once, before done: the store refuses such writes for the time being, and the writer tries again, maybe for long.
    None: the writer does not wait, the result is refused. comes_again: the submitter submits it until it is stored, so that giving it up
    loses nothing; otherwise a refusal that lasts ends as a dead letter.
    """

    request: WriteRequest
    done: Callable[[WriteResult], None]
    entry: AccountEntry | None = None
    waits: Callable[[], None] | None = None
    comes_again: bool = True
