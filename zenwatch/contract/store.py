"""What every store of records promises: to the writer, and to those who ask."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from zenwatch.model.event import Event
from zenwatch.model.record import Expiry, Status, Stored
from zenwatch.model.refs import Origin, ReportRef
from zenwatch.model.write import Envelope


@dataclass(frozen=True, slots=True)
class Put:
    """A record as it is stored now."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Gone:
    """A record was deleted. version: of the deletion, higher than any version that the record had."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Synced:
    """follow() has reported all records that were stored when it began."""


class Store(Protocol):
    """Where records live. A name identifies a record in all namespaces, because it is made of the content.

    Every method may raise Transient (try again), Forbidden (a permission is missing), Denied (a policy refuses it for the time being) or
    Invalid (this record can never be stored).
    """

    def target_of(self, event: Event) -> str:
        """Where a new record of the event would live: what refuses writes there may take them elsewhere."""
        ...

    async def create(self, event: Event, *, spec_hash: str, report: ReportRef | None = None) -> tuple[Stored, bool]:
        """Create the record and return it with True; or return the existing record of that name with False.

        report: the report that holds the event. A namespace that does not exist or is being deleted is no error: the record then goes
        to the store's own namespace.
        """
        ...

    async def update(self, event: Event, *, spec_hash: str, stored: Stored, report: ReportRef | None = None) -> Stored:
        """Replace the spec, except detectedAt and the immutable fields; the status stays.

        NotFound: the record is gone. Conflict: its version is not stored.version any more.
        """
        ...

    async def set_status(self, stored: Stored, status: Status, *, now: datetime) -> Stored:
        """Replace the status: firstSeen stays, lastSeen is never before it, resolvedAt is now for a resolved record and absent otherwise.

        NotFound, Conflict: as in update().
        """
        ...

    async def delete(self, stored: Stored) -> None:
        """NotFound, Conflict: as in update()."""
        ...

    async def mend(self) -> int:
        """Restore what the store derives from a record, such as labels, where somebody changed it. Return in how many records."""
        ...

    async def read(self, stored: Stored) -> Mapping[str, Any]:
        """Return the whole record as it is now: metadata, spec, status. NotFound: the record is gone."""
        ...

    async def ping(self) -> None:
        """Return once the store has answered a read that no namespace can refuse. Raises as the others do."""
        ...

    async def check(self) -> tuple[bool, list[str]]:
        """Whether records can be stored now, and a line for each part of the answer (GET /readyz). Raises nothing."""
        ...

    @property
    def parts(self) -> Sequence[str]:
        """What has to be followed to know all records: the whole store, or each namespace that may hold some."""
        ...

    def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        """Yield every stored record of this part as Put, then one Synced, then each change as it happens, our own included.

        Ends only by an error: Expired (call again at once) or another Transient. What the next call yields up to Synced is complete;
        a record that it does not yield is gone.
        """
        ...


class RecordCounts(Protocol):
    """How many records are stored, and of what."""

    async def open_counts(self) -> Mapping[Origin, int]:
        """How many open records each origin has."""
        ...

    async def top(self, dimension: str, limit: int) -> tuple[Sequence[Mapping[str, Any]], int]:
        """At most `limit` groups of open records, the worst first; and how many groups there are. dimension: of model.record.DIMENSIONS."""
        ...

    @property
    def total_records(self) -> int: ...

    @property
    def total_bytes(self) -> int:
        """About the size of all records as JSON."""
        ...


class Records(RecordCounts, Protocol):
    """Answers questions about what is stored. The CRD store answers from its mirror in memory, a SQL store by query."""

    async def wait_until_synced(self) -> None:
        """Return once all records are known. Until then a missing name means nothing."""
        ...

    async def get(self, name: str) -> Stored | None: ...

    async def by_names(self, names: Collection[str]) -> Mapping[str, Stored]:
        """Those of the names that are stored."""
        ...

    async def unresolved_of(self, origin: Origin) -> Sequence[Stored]:
        """All records of the origin that are not resolved."""
        ...

    async def has_any(self, origin: Origin) -> bool:
        """Whether the origin has a record, in whatever phase."""
        ...

    async def open_not_seen_since(self, origin: Origin, moment: datetime) -> Sequence[Stored]:
        """Open records whose last sighting was then or earlier."""
        ...

    async def expired(self, expiry: Expiry, now: datetime) -> Sequence[Stored]:
        """Records whose retention time is over."""
        ...

    async def oldest_resolved(self, limit: int) -> Sequence[Stored]:
        """Resolved records, the longest unseen first."""
        ...

    def call_when_changed(self, origin: Origin, call: Callable[[str], None] | None) -> None:
        """call(name) for every record of the origin that disappears from the store, or that somebody else changes: what zenwatch wrote of
        metadata and spec, the phase or the count. It may also be called for a change of our own. None: nobody wants to know any more.
        """
        ...


class RecordCache(Protocol):
    """What the writer learns from the store's answers, before the store's own feed repeats it."""

    def put(self, stored: Stored) -> None:
        """Remember the record, unless a newer version is known."""
        ...

    def drop(self, name: str) -> None:
        """Forget the record: the store answered that it is gone."""
        ...


class Capacity(Protocol):
    """Knows how many records fit."""

    @property
    def free_records(self) -> int:
        """How many more records fit."""
        ...

    def roll_up(self, origin: Origin, findings: int) -> None:
        """So many findings of the origin have no record of their own now."""
        ...


class RecordWriter(Protocol):
    """The only way to the store."""

    async def submit(self, envelope: Envelope) -> None:
        """Return once the envelope is queued; wait while the queue is full. Raises Closed when the process stops."""
        ...
