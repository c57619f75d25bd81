"""What is stored: one small entry per record, read from the store and kept true by following it.

In: Puts and Gones from the store, receipts from dedup.  Out: lookups; a call for every record that disappears.
Owns: one Stored per record (about 300 bytes).
Stops: nothing to drain; it is read again at the next start.
"""

import asyncio
from collections.abc import Callable

import structlog

from zenwatch.contract import Gone, Put, Store, Synced
from zenwatch.errors import Expired
from zenwatch.metrics import RECORDS_INDEXED
from zenwatch.model.record import Stored

log = structlog.get_logger(room="index")


class StoredIndex:
    """follow() is run by a supervised task; after an error it is run again and reads the store anew."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records: dict[str, Stored] = {}
        self._synced = asyncio.Event()
        # Names told or written since follow() began; None once it is synced.
        self._fresh: set[str] | None = None
        self._on_gone: list[Callable[[str], None]] = []

    def __len__(self) -> int:
        return len(self._records)

    def call_when_gone(self, call: Callable[[str], None]) -> None:
        self._on_gone.append(call)

    async def follow(self) -> None:
        while True:
            try:
                await self._follow_once()
            except Expired:
                log.info("records_read_again", reason="the place in the watch was too old")

    async def _follow_once(self) -> None:
        self._fresh = set()
        async for told in self._store.follow():
            match told:
                case Put(stored):
                    self.put(stored)
                case Gone(name, version):
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
        if known is None or known.version < stored.version:
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
