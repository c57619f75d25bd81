"""What is stored: one small entry per record, read from the store and kept true by following it.

In: Puts and Gones from the store, receipts from dedup.  Out: lookups; groups; a call for every record that disappears.
Owns: one Stored per record, and the last deletions.
Stops: nothing to drain; it is read again at the next start.
"""

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog
from cachetools import LRUCache

from zenwatch.contract import Gone, Put, Store, Synced
from zenwatch.errors import Expired
from zenwatch.metrics import RECORDS_INDEXED
from zenwatch.model.record import Stored
from zenwatch.store.crd.top import Groups

log = structlog.get_logger(component="index")

# A watch that lasted so long was no failure.
HEALTHY_SECS = 10.0
# More than can be in the writer's hands at one time, by far.
DELETIONS_REMEMBERED = 4096


class StoredIndex:
    """follow() is run by a supervised task per part of the store; after an error it is run again and reads the part anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, Stored] = {}
        self._unread = set(store.parts)
        self._synced = asyncio.Event()
        # Part → names told or written since its follow() began; absent once it is synced.
        self._fresh: dict[str, set[str]] = {}
        # Name → version of the deletion: a receipt of an earlier write may still be on its way.
        self._gone: LRUCache[str, int] = LRUCache(maxsize=DELETIONS_REMEMBERED)
        self._on_gone: list[Callable[[str], None]] = []
        self.groups = Groups()
        # Of all records together, as JSON.
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def call_when_gone(self, call: Callable[[str], None]) -> None:
        self._on_gone.append(call)

    async def follow(self, part: str = "") -> None:
        """Expired is answered at once. Twice in a row, with no change in between, it is a failure like any other and costs a pause."""
        in_a_row = 0
        while True:
            began, changes = monotonic(), 0
            self._fresh[part] = set()
            try:
                async for told in self._store.follow(part):
                    changes += part not in self._fresh
                    self._take(part, told)
            except Expired:
                in_a_row = 1 if changes or monotonic() - began > HEALTHY_SECS else in_a_row + 1
                if in_a_row > 1:
                    raise
                log.info("records_read_again", namespace=part, reason="the place in the watch was too old")

    def _take(self, part: str, change: Put | Gone | Synced) -> None:
        match change:
            case Put(stored):
                self.put(stored)
            case Gone(name, version):
                self._gone[name] = version
                known = self._records.get(name)
                if known is not None and known.version < version:
                    self.drop(name)
            case Synced():
                self._finish_sync(part)

    # ------------------------------------------------------------ contract.Index

    async def wait_until_synced(self) -> None:
        await self._synced.wait()

    def get(self, name: str) -> Stored | None:
        return self._records.get(name)

    def all(self) -> list[Stored]:
        return list(self._records.values())

    def of_source(self, source: str) -> list[Stored]:
        return [stored for stored in self._records.values() if stored.source == source]

    def put(self, stored: Stored) -> None:
        known = self._records.get(stored.name)
        newest = known.version if known is not None else self._gone.get(stored.name, 0)
        if newest < stored.version:
            self._records[stored.name] = stored
            self._count(known, stored)
        for fresh in self._fresh.values():
            fresh.add(stored.name)

    def drop(self, name: str) -> None:
        if (known := self._records.pop(name, None)) is not None:
            self._count(known, None)
            for call in self._on_gone:
                call(name)

    def _count(self, before: Stored | None, after: Stored | None) -> None:
        self.groups.replace(before, after)
        self.size_bytes += (after.size_bytes if after else 0) - (before.size_bytes if before else 0)
        RECORDS_INDEXED.set(len(self._records))

    def _finish_sync(self, part: str) -> None:
        fresh = self._fresh.pop(part, set())
        in_part = [name for name, stored in self._records.items() if not part or stored.namespace == part]
        for name in in_part:
            if name not in fresh:
                self.drop(name)
        self._unread.discard(part)
        if not self._unread and not self._synced.is_set():
            log.info("records_read_back", count=len(self._records))
            self._synced.set()
