"""zenwatch/store/index.py: what only StoredIndex does; what every Index promises stands in tests/contract/index_suite.py."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contract.index_suite import a_stored
from tests.fakes.findings import an_event
from tests.fakes.pipeline import background, until
from tests.fakes.store import MemoryStore
from zenwatch.contract import Gone, Put, Synced
from zenwatch.errors import Expired, Transient
from zenwatch.store.index import StoredIndex


class Scripted(MemoryStore):
    """A store whose follow() tells what the test lists."""

    def __init__(self, *told: Put | Gone | Synced) -> None:
        super().__init__()
        self._script = told

    parts = ("",)

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        for told in self._script:
            yield told
        await asyncio.Event().wait()


class WritesMeanwhile(MemoryStore):
    """An empty store to which a worker writes while it is read."""

    index: StoredIndex

    parts = ("",)

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        self.index.put(a_stored(name="written meanwhile"))
        yield Synced()
        await asyncio.Event().wait()


async def test_whoever_asked_is_called_for_each_record_that_disappears() -> None:
    """By this a deleted record is written again; and each disappearance is told once."""
    store = MemoryStore()
    index, gone = StoredIndex(store), list[str]()
    index.call_when_gone(gone.append)
    kept, _ = await store.create(an_event(key="kept"), spec_hash="a")
    removed, _ = await store.create(an_event(key="removed"), spec_hash="a")
    missed, _ = await store.create(an_event(key="missed"), spec_hash="a")
    async with background(index.follow):
        await index.wait_until_synced()
        store.remove(removed.name)
        del store.objects[missed.name]
        store.break_follows(Expired("too old"))
        await until(lambda: len(index) == 1)

    assert gone == [removed.name, missed.name]
    assert index.get(kept.name) == kept


async def test_an_old_deletion_does_not_hide_a_newer_record() -> None:
    """The record was deleted and written again; the watch is behind the receipt."""
    newer = a_stored(version=9)
    index = StoredIndex(Scripted(Put(newer), Synced(), Gone(newer.name, 5), Put(a_stored(name="last"))))
    async with background(index.follow):
        await until(lambda: index.get("last") is not None)

    assert index.get(newer.name) == newer


async def test_a_late_receipt_does_not_bring_back_a_record_that_is_gone() -> None:
    """Its version is below the deletion's. Believed, the record would never be written again."""
    late = a_stored(version=4)
    index = StoredIndex(Scripted(Put(a_stored(version=3)), Synced(), Gone(late.name, 5), Put(a_stored(name="last"))))
    async with background(index.follow):
        await until(lambda: index.get("last") is not None)

    index.put(late)

    assert index.get(late.name) is None


async def test_what_was_written_while_reading_is_not_forgotten() -> None:
    """The list may have passed that place before the write; the receipt vouches for the record."""
    store = WritesMeanwhile()
    index = store.index = StoredIndex(store)
    index.put(a_stored(name="known before"))
    async with background(index.follow):
        await index.wait_until_synced()

    assert index.get("written meanwhile") is not None
    assert index.get("known before") is None


async def test_a_store_that_is_away_ends_follow_and_keeps_what_is_known() -> None:
    """The supervisor starts it again; state that could not be read is never treated as empty."""
    store = MemoryStore()
    stored, _ = await store.create(an_event(), spec_hash="a")
    index = StoredIndex(store)
    following = asyncio.create_task(index.follow())
    await index.wait_until_synced()

    store.break_follows(Transient("away"))

    with pytest.raises(Transient):
        await following
    assert index.get(stored.name) == stored


async def test_an_expired_place_is_read_again_at_once() -> None:
    """410 is no failure: it is the server's way to say that the list has to be read anew."""
    store = MemoryStore()
    index = StoredIndex(store)
    async with background(index.follow):
        await index.wait_until_synced()
        store.break_follows(Expired("too old"))
        await until(lambda: store.follows_begun == 2)
