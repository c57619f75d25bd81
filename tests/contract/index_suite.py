"""What every contract.Index promises. The subclass gives the fixture `harness`: an index over a MemoryStore that follows it."""

import asyncio
from typing import Protocol

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import until
from zenwatch.contract import Index
from zenwatch.errors import Expired
from zenwatch.model.record import Stored


class IndexHarness(Protocol):
    """store: what is indexed; start() begins to follow it."""

    index: Index
    store: MemoryStore

    def start(self) -> None: ...


class IndexSuite:
    async def test_it_is_synced_only_once_all_was_read(self, harness: IndexHarness) -> None:
        """Before that a missing name means nothing."""
        stored = await _create(harness.store)
        waiting = asyncio.create_task(harness.index.wait_until_synced())
        await asyncio.sleep(0)
        assert not waiting.done()

        harness.start()

        async with asyncio.timeout(5):
            await waiting
        assert harness.index.get(stored.name) == stored

    async def test_an_unknown_name_is_none(self, harness: IndexHarness) -> None:
        """None: not stored, once it is synced."""
        await _synced(harness)

        assert harness.index.get("trivy-vuln-unknown") is None

    async def test_what_was_put_is_known_at_once(self, harness: IndexHarness) -> None:
        """The writer's receipt counts before the watch repeats it."""
        await _synced(harness)
        stored = a_stored(version=7)

        harness.index.put(stored)

        assert harness.index.get(stored.name) == stored

    async def test_something_older_does_not_replace_something_newer(self, harness: IndexHarness) -> None:
        """Receipts and watch overtake each other."""
        await _synced(harness)
        newer = a_stored(version=8, count=2)
        harness.index.put(newer)

        harness.index.put(a_stored(version=7, count=1))

        assert harness.index.get(newer.name) == newer

    async def test_what_was_dropped_is_unknown(self, harness: IndexHarness) -> None:
        """Dropping twice is dropping once."""
        await _synced(harness)
        stored = a_stored()
        harness.index.put(stored)

        harness.index.drop(stored.name)
        harness.index.drop(stored.name)

        assert harness.index.get(stored.name) is None

    async def test_it_hears_of_changes_and_deletions(self, harness: IndexHarness) -> None:
        """Others write to the same store."""
        await _synced(harness)
        stored = await _create(harness.store)
        await until(lambda: harness.index.get(stored.name) == stored)

        harness.store.remove(stored.name)

        await until(lambda: harness.index.get(stored.name) is None)

    async def test_what_vanished_during_a_break_is_forgotten(self, harness: IndexHarness) -> None:
        """What the second reading does not name is gone."""
        stays = await _create(harness.store, "default/Pod/nginx/CVE-2026-1")
        goes = await _create(harness.store, "default/Pod/nginx/CVE-2026-2")
        await _synced(harness)
        del harness.store.objects[goes.name]

        harness.store.break_follows(Expired("too old"))

        await until(lambda: harness.index.get(goes.name) is None)
        assert harness.index.get(stays.name) == stays


async def _create(store: MemoryStore, key: str = "default/Pod/nginx/CVE-2026-1") -> Stored:
    stored, _ = await store.create(an_event(key=key), spec_hash="a")
    return stored


async def _synced(harness: IndexHarness) -> None:
    harness.start()
    async with asyncio.timeout(5):
        await harness.index.wait_until_synced()
