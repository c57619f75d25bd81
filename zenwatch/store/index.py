"""What is stored: one small entry per record, read from the store and kept true by following it.

In: Puts and Gones from the store, receipts from dedup.  Out: lookups; a call for every record that disappears.
Owns: one Stored per record (about 300 bytes), and the last deletions.
Stops: nothing to drain; it is read again at the next start.
"""

import asyncio
from collections.abc import Callable

import structlog
from cachetools import LRUCache

from zenwatch.contract import Gone, Put, Store, Synced
from zenwatch.errors import Expired
from zenwatch.metrics import RECORDS_INDEXED
from zenwatch.model.record import Stored

log = structlog.get_logger(room="index")

# More than can be in the writer's hands at one time, by far.
DELETIONS_REMEMBERED = 4096


class StoredIndex:
    """follow() is run by a supervised task; after an error it is run again and reads the store anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, Stored] = {}
        self._synced = asyncio.Event()
        self._told = 0
        # Names told or written since follow() began; None once it is synced.
        self._fresh: set[str] | None = None
        # Name → version of the deletion: a receipt of an earlier write may still be on its way.
        self._gone: LRUCache[str, int] = LRUCache(maxsize=DELETIONS_REMEMBERED)
        self._on_gone: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._records)

    def call_when_gone(self, call: Callable[[str], None]) -> None:
        self._on_gone.append(call)

    async def follow(self) -> None:
        """Twice in a row without a record in between, Expired is a failure like any other, and so costs a pause."""
        while True:
            self._told = 0
            try:
                await self._follow_once()
            except Expired:
                if not self._told:
                    raise
                log.info("records_read_again", reason="the place in the watch was too old")

    async def _follow_once(self) -> None:
        self._fresh = set()
        async for told in self._store.follow():
            self._told += 1
            match told:
                case Put(stored):
                    self.put(stored)
                case Gone(name, version):
                    self._gone[name] = version
                    known = self._records.get(name)
                    if known is not None and known.version < version:
                        self.drop(name)
                case Synced():
                    self._finish_sync()

    # ------------------------------------------------------------ contract.Index

    async def wait_until_synced(self) -> None:
        await self._synced.wait()

    def get(self, name: str) -> Stored | None:
        return self._records.get(name)

    def put(self, stored: Stored) -> None:
        known = self._records.get(stored.name)
        newest = known.version if known is not None else self._gone.get(stored.name, 0)
        if newest < stored.version:
            self._records[stored.name] = stored
            RECORDS_INDEXED.set(len(self._records))
        if self._fresh is not None:
            self._fresh.add(stored.name)

    def drop(self, name: str) -> None:
        if self._records.pop(name, None) is not None:
            RECORDS_INDEXED.set(len(self._records))
            for call in self._on_gone:
                call(name)

    def _finish_sync(self) -> None:
        fresh, self._fresh = self._fresh or set(), None
        for name in [name for name in self._records if name not in fresh]:
            self.drop(name)
        if not self._synced.is_set():
            log.info("records_read_back", count=len(self._records))
        self._synced.set()
