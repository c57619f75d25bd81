"""What the rooms around the store promise each other, and time."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from zenwatch.model.event import Event
from zenwatch.model.record import Status, Stored
from zenwatch.model.write import Envelope


@dataclass(frozen=True, slots=True)
class Put:
    """A record is stored like this."""

    stored: Stored


@dataclass(frozen=True, slots=True)
class Gone:
    """A record was deleted. version: of the deletion, higher than any that the record had."""

    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Synced:
    """All records that were stored when follow() began have been told."""


class Store(Protocol):
    """Where records live. Knows records by name; names are unique over all namespaces, because they are made of the content.

    All methods raise Transient (try again), Forbidden (a permission is missing) or Invalid (this record, never).
    """

    async def create(self, event: Event, *, spec_hash: str, report: str = "") -> tuple[Stored, bool]:
        """Create the record and return it with True; or return the one of that name that was there, with False. report: that says it.

        A namespace that does not exist or is going away is no error: the record then goes to the store's own namespace.
        """
        ...

    async def update(self, event: Event, *, spec_hash: str, stored: Stored, report: str = "") -> Stored:
        """Replace what was found (all of the spec but detectedAt and what is immutable); the status stays.

        NotFound: it is gone. Conflict: it is not of stored.version any more.
        """
        ...

    async def set_status(self, stored: Stored, status: Status, *, now: datetime) -> Stored:
        """Write the whole status: firstSeen as it was, lastSeen never before it, resolvedAt only where it is resolved, and then now.

        NotFound, Conflict: as in update().
        """
        ...

    async def delete(self, stored: Stored) -> None:
        """Delete it as it is known. Conflict: it is not of stored.version any more. NotFound: it is gone."""
        ...

    async def read(self, stored: Stored) -> Mapping[str, Any]:
        """The whole record as it is now: metadata, spec, status. NotFound: it is gone."""
        ...

    @property
    def parts(self) -> Sequence[str]:
        """What has to be followed to know all: one part, or one per namespace that records may lie in."""
        ...

    def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        """Tell every stored record of this part and cluster_id as Put, then one Synced, then each change as it happens, ours included.

        Ends only by an error: Expired (call it again at once) or another Transient. What the next call tells up to Synced is the
        whole truth; a record that it does not name is gone.
        """
        ...


class Index(Protocol):
    """The one memory of what is stored."""

    async def wait_until_synced(self) -> None:
        """Return once the store was read completely. Until then nothing may be concluded from a name that is missing."""
        ...

    def get(self, name: str) -> Stored | None: ...

    def __len__(self) -> int: ...

    @property
    def size_bytes(self) -> int:
        """Of all records together, about."""
        ...

    def all(self) -> Sequence[Stored]:
        """All that is known now."""
        ...

    def of_source(self, source: str) -> Sequence[Stored]:
        """All of it that is known now."""
        ...

    def put(self, stored: Stored) -> None:
        """Remember it, unless something newer is known of that record."""
        ...

    def drop(self, name: str) -> None:
        """Forget it: the store said that it is gone."""
        ...


class Capacity(Protocol):
    """Knows how many records fit."""

    @property
    def free_records(self) -> int:
        """How many more."""
        ...

    def roll_up(self, source: str, findings: int) -> None:
        """So many findings of the source have no record of their own now."""
        ...


class RecordWriter(Protocol):
    """The only way to the store."""

    async def submit(self, envelope: Envelope) -> None:
        """Return once it is queued; waits while the queue is full. Raises Closed when the process is stopping."""
        ...


class Destination(Protocol):
    """Where copies of records are delivered to (a bucket, a log service). At least once, in order per record."""

    async def deliver(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Return once all are safe there. Transient: the same batch comes again. Permanent: it goes to dead letters."""
        ...


class Clock(Protocol):
    """Time as the rooms see it, so that a test can move it."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic_secs(self) -> float:
        """Only differences mean something."""
        ...

    async def wait(self, event: asyncio.Event, *, timeout_secs: float) -> bool:
        """True as soon as event is set; False after timeout_secs."""
        ...
