"""What is stored, in memory: one small entry per record, read from the store and kept up to date by its watch.

In: Puts and Gones of the store, answers that the writer received.  Out: answers to questions; a call for every record that
somebody else deletes or changes.
Owns: one Stored per record, the groups of `zenwatch top`, and the last deletions.
Stops: nothing to drain; it is read again at the next start.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from heapq import nsmallest
from time import monotonic
from typing import Any

import structlog
from cachetools import LRUCache

from zenwatch.contract import Gone, Group, Put, Store, Synced
from zenwatch.errors import Expired
from zenwatch.metrics import RECORDS_INDEXED
from zenwatch.model.record import Expiry, Stored
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.crd.top import TopGroups

log = structlog.get_logger(component="mirror")

# A watch that lasted so long was no failure.
HEALTHY_SECS = 10.0
# Far more than the writer can have under way at one time.
DELETIONS_REMEMBERED = 4096
# Nothing is written before the mirror was read: when the API server is back, that must not wait.
LONGEST_PAUSE_SECS = 5.0


class Mirror:
    """contract.Records and contract.RecordCache. One task follows each part of the store; after an error it reads the part again."""

    group = Group.ALWAYS

    def __init__(self, store: Store, supervisor: Supervisor) -> None:
        self._store = store
        self._supervisor = supervisor
        self._records: dict[str, Stored] = {}
        self._unread = set(store.parts)
        self._synced = asyncio.Event()
        # Part → names that were reported or written since its follow() began; absent once the part is synced.
        self._fresh: dict[str, set[str]] = {}
        # Name → version of the deletion: the answer to an earlier write may still be on its way.
        self._gone: LRUCache[str, int] = LRUCache(maxsize=DELETIONS_REMEMBERED)
        self._on_change: dict[Origin, Callable[[str], None]] = {}
        self._groups = TopGroups()
        self._total_bytes = 0

    async def start(self) -> None:
        for part in self._store.parts:
            self._supervisor.start(f"mirror/{part}", partial(self.follow, part), longest_wait_secs=LONGEST_PAUSE_SECS)

    async def stop(self) -> None:
        await self._supervisor.stop("mirror/")

    async def follow(self, part: str = "") -> None:
        """Expired is answered at once. Twice in a row, with no change in between, it is a failure like any other and costs a pause."""
        in_a_row = 0
        while True:
            began, changes = monotonic(), 0
            self._fresh[part] = set()
            try:
                async for change in self._store.follow(part):
                    changes += part not in self._fresh
                    self._apply(part, change)
            except Expired:
                in_a_row = 1 if changes or monotonic() - began > HEALTHY_SECS else in_a_row + 1
                if in_a_row > 1:
                    raise
                log.info("records_read_again", namespace=part, reason="the position in the watch was too old")

    # ------------------------------------------------------------ contract.Records

    async def wait_until_synced(self) -> None:
        await self._synced.wait()

    def __contains__(self, name: str) -> bool:
        return name in self._records

    async def get(self, name: str) -> Stored | None:
        return self._records.get(name)

    async def by_names(self, names: Collection[str]) -> Mapping[str, Stored]:
        return {name: stored for name in names if (stored := self._records.get(name)) is not None}

    async def unresolved_of(self, origin: Origin) -> Sequence[Stored]:
        return [stored for stored in self._of(origin) if not stored.is_resolved]

    async def has_any(self, origin: Origin) -> bool:
        return any(True for _ in self._of(origin))

    async def open_not_seen_since(self, origin: Origin, moment: datetime) -> Sequence[Stored]:
        latest = moment.timestamp()
        return [stored for stored in self._of(origin) if stored.is_open and stored.last_seen <= latest]

    async def expired(self, expiry: Expiry, now: datetime) -> Sequence[Stored]:
        now_secs = now.timestamp()
        return [stored for stored in self._records.values() if expiry.is_over(stored, now_secs)]

    async def oldest_resolved(self, limit: int) -> Sequence[Stored]:
        resolved = (stored for stored in self._records.values() if stored.is_resolved)
        return nsmallest(limit, resolved, key=lambda stored: (stored.last_seen, stored.name))

    async def open_counts(self) -> Mapping[Origin, int]:
        return Tally(stored.origin for stored in self._records.values() if stored.is_open)

    async def top(self, dimension: str, limit: int) -> tuple[Sequence[Mapping[str, Any]], int]:
        return self._groups.top(dimension, limit), self._groups.size(dimension)

    @property
    def total_records(self) -> int:
        return len(self._records)

    @property
    def total_bytes(self) -> int:
        return self._total_bytes

    def call_when_changed(self, origin: Origin, call: Callable[[str], None] | None) -> None:
        self._on_change.pop(origin, None)
        if call is not None:
            self._on_change[origin] = call

    # ------------------------------------------------------------ contract.RecordCache

    def put(self, stored: Stored) -> None:
        known = self._records.get(stored.name)
        newest = known.version if known is not None else self._gone.get(stored.name, 0)
        # A record that lost our labels is gone for the watch, at the very version that its next reader finds.
        if newest < stored.version or (known is None and newest == stored.version):
            self._records[stored.name] = stored
            self._count(known, stored)
        for fresh in self._fresh.values():
            fresh.add(stored.name)

    def drop(self, name: str) -> None:
        if (known := self._records.pop(name, None)) is not None:
            self._count(known, None)
            self._call(known)

    # ------------------------------------------------------------ inside

    def _of(self, origin: Origin) -> Iterator[Stored]:
        return (stored for stored in self._records.values() if stored.origin == origin)

    def _apply(self, part: str, change: Put | Gone | Synced) -> None:
        match change:
            case Put(stored):
                self._receive(stored)
            case Gone(name, version):
                self._gone[name] = version
                known = self._records.get(name)
                if known is not None and known.version < version:
                    self.drop(name)
            case Synced():
                self._finish_sync(part)

    def _receive(self, stored: Stored) -> None:
        """A record as the store reports it. What the writer did not report before was changed by somebody else, or its result is late."""
        known = self._records.get(stored.name)
        if known is not None and known.version >= stored.version:
            self.put(stored)
            return
        if known is not None and not known.is_edited and known.report != stored.report and known.spec_hash == stored.spec_hash:
            # zenwatch names another report only together with another spec.
            stored = replace(stored, is_edited=True)
        self.put(stored)
        # Once for each edit: if the store itself changes what is written, another write would not help.
        is_edited = stored.is_edited and not (known is not None and known.is_edited)
        if is_edited or (known is not None and (known.phase, known.count) != (stored.phase, stored.count)):
            self._call(stored)

    def _call(self, stored: Stored) -> None:
        if (call := self._on_change.get(stored.origin)) is not None:
            call(stored.name)

    def _count(self, before: Stored | None, after: Stored | None) -> None:
        self._groups.replace(before, after)
        self._total_bytes += (after.size_bytes if after else 0) - (before.size_bytes if before else 0)
        RECORDS_INDEXED.set(len(self._records))

    def _finish_sync(self, part: str) -> None:
        fresh = self._fresh.pop(part, set())
        for name in [name for name, stored in self._records.items() if part in ("", stored.namespace) and name not in fresh]:
            self.drop(name)
        self._unread.discard(part)
        if not self._unread and not self._synced.is_set():
            log.info("records_read_back", count=len(self._records))
            self._synced.set()
