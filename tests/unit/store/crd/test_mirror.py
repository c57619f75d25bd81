"""zenwatch/store/crd/mirror.py: what only Mirror does; tests/contract/records_suite.py tests what every contract.Records promises."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import background, patience, until
from zenwatch.contract import Gone, Put, Synced
from zenwatch.errors import Expired, Transient
from zenwatch.model.record import Stored, spec_hash
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.crd.mirror import Mirror


class Scripted(MemoryStore):
    """A store whose follow() yields what the test lists."""

    def __init__(self, *changes: Put | Gone | Synced) -> None:
        super().__init__()
        self._script = changes

    parts = ("",)

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        for change in self._script:
            yield change
        await asyncio.Event().wait()


class InParts(MemoryStore):
    """A store of several namespaces. The follow() of each yields what the test sends to it, and waits for more."""

    def __init__(self, *parts: str) -> None:
        super().__init__()
        self._parts = parts
        self._pending = {part: asyncio.Queue[Put | Gone | Synced | Exception](maxsize=100) for part in parts}

    @property
    def parts(self) -> Sequence[str]:
        return self._parts

    def send(self, part: str, *changes: Put | Gone | Synced | Exception) -> None:
        for change in changes:
            self._pending[part].put_nowait(change)

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        while True:
            change = await self._pending[part].get()
            if isinstance(change, Exception):
                raise change
            yield change


class WritesMeanwhile(MemoryStore):
    """An empty store to which a worker writes while it is read."""

    mirror: Mirror

    parts = ("",)

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        self.mirror.put(a_stored(name="written meanwhile"))
        yield Synced()
        await asyncio.Event().wait()


async def _create(store: MemoryStore, key: str) -> tuple[Stored, bool]:
    event = an_event(key=key)
    return await store.create(event, spec_hash=spec_hash(event))


async def test_whoever_asked_is_called_for_each_record_that_disappears() -> None:
    """So a deleted record is written again. There is one call for each disappearance."""
    store = MemoryStore()
    mirror, gone = Mirror(store, Supervisor()), list[str]()
    mirror.call_when_changed(Origin("local", "trivy"), gone.append)
    kept, _ = await _create(store, "kept")
    removed, _ = await _create(store, "removed")
    missed, _ = await _create(store, "missed")
    async with background(mirror.follow):
        await mirror.wait_until_synced()
        store.remove(removed.name)
        del store.objects[missed.name]
        store.break_follows(Expired("too old"))
        await until(lambda: mirror.total_records == 1)

    assert gone == [removed.name, missed.name]
    assert await mirror.get(kept.name) == kept


async def _calls(before: Stored, *after: Stored) -> list[str]:
    """The names that are called for these changes."""
    called: list[str] = []
    mirror = Mirror(Scripted(Put(before), Synced(), *map(Put, after), Put(a_stored(name="last", version=99))), Supervisor())
    mirror.call_when_changed(before.origin, called.append)
    async with background(mirror.follow):
        await until(lambda: "last" in mirror)
    return called


@pytest.mark.parametrize("changes", [{"is_edited": True}, {"phase": "Resolved"}, {"count": 7}, {"report": "a/b/c"}], ids=str)
async def test_whoever_asked_is_called_for_each_record_that_somebody_changes(changes: dict[str, Any]) -> None:
    """So that the next round compares it, although nobody reads all records each round."""
    stored = a_stored(report="a/b/other")

    assert await _calls(stored, replace(stored, version=2, **changes)) == [stored.name]


async def test_another_spec_of_our_own_is_no_edit() -> None:
    """With a spec that is as zenwatch wrote it, and its hash, also the report may be another one."""
    stored = a_stored(report="a/b/other")

    assert await _calls(stored, replace(stored, version=2, spec_hash="b", report="a/b/c"), replace(stored, version=3, severity="LOW")) == []


async def test_a_store_that_changes_what_is_written_costs_one_more_write() -> None:
    """Such as an admission webhook that edits every record: the next write would not help either."""
    stored = a_stored()
    edited = [replace(stored, version=version, is_edited=True) for version in (2, 3, 4)]

    assert await _calls(stored, *edited) == [stored.name]


async def test_a_record_that_lost_its_labels_is_known_again_once_somebody_reads_it() -> None:
    """For the watch it is gone, at the very version that it has. Otherwise a pushed event would meet it again and again."""
    stored = a_stored(version=5)
    mirror = Mirror(Scripted(Put(replace(stored, version=4)), Synced(), Gone(stored.name, 5), Put(a_stored(name="last"))), Supervisor())
    async with background(mirror.follow):
        await until(lambda: "last" in mirror)

    mirror.put(stored)

    assert await mirror.get(stored.name) == stored


async def test_an_old_deletion_does_not_hide_a_newer_record() -> None:
    """The record was deleted and written again; the watch is behind the result of the write."""
    newer = a_stored(version=9)
    mirror = Mirror(Scripted(Put(newer), Synced(), Gone(newer.name, 5), Put(a_stored(name="last"))), Supervisor())
    async with background(mirror.follow):
        await until(lambda: "last" in mirror)

    assert await mirror.get(newer.name) == newer


async def test_a_late_result_does_not_bring_back_a_record_that_is_gone() -> None:
    """Its version is below the version of the deletion. If the mirror kept it, the record would never be written again."""
    late = a_stored(version=4)
    mirror = Mirror(Scripted(Put(a_stored(version=3)), Synced(), Gone(late.name, 5), Put(a_stored(name="last"))), Supervisor())
    async with background(mirror.follow):
        await until(lambda: "last" in mirror)

    mirror.put(late)

    assert late.name not in mirror


async def test_what_was_written_while_reading_is_not_forgotten() -> None:
    """The list may have passed the record before the write; the result of the write shows that it exists."""
    store = WritesMeanwhile()
    mirror = store.mirror = Mirror(store, Supervisor())
    mirror.put(a_stored(name="known before"))
    async with background(mirror.follow):
        await mirror.wait_until_synced()

    assert "written meanwhile" in mirror
    assert "known before" not in mirror


async def test_a_store_that_is_away_ends_follow_and_keeps_what_is_known() -> None:
    """The supervisor starts it again; state that could not be read is never treated as empty."""
    store = MemoryStore()
    stored, _ = await store.create(an_event(), spec_hash="a")
    mirror = Mirror(store, Supervisor())
    following = asyncio.create_task(mirror.follow())
    await mirror.wait_until_synced()

    store.break_follows(Transient("away"))

    with pytest.raises(Transient):
        await following
    assert await mirror.get(stored.name) == stored


async def test_after_an_expired_version_the_store_is_read_again_at_once() -> None:
    """410 is no failure: the list has to be read again."""
    store = MemoryStore()
    mirror = Mirror(store, Supervisor())
    async with background(mirror.follow):
        await mirror.wait_until_synced()
        store.break_follows(Expired("too old"))
        await until(lambda: store.follows_begun == 2)


async def test_a_version_that_is_always_expired_costs_a_pause() -> None:
    """A list yields all records, which is no progress; a change after the list is."""
    store = MemoryStore()
    await store.create(an_event(), spec_hash="a")
    mirror = Mirror(store, Supervisor())
    following = asyncio.create_task(mirror.follow())
    await mirror.wait_until_synced()

    for follows in (2, 3):
        store.break_follows(Expired("too old"))
        await until(lambda follows=follows: following.done() or store.follows_begun == follows)  # type: ignore[misc]
    ended = following.done()
    following.cancel()

    assert ended, "the supervisor, which waits between two tries, did not get to see it"
    assert isinstance((await asyncio.gather(following, return_exceptions=True))[0], Expired)


# ---------------------------------------------------------------- several parts


async def test_an_index_of_several_parts_is_synced_after_the_last_of_them() -> None:
    """Otherwise a record of the namespace that is still being read would be written a second time."""
    store = InParts("shop", "bank")
    mirror = Mirror(store, Supervisor())
    async with background(partial(mirror.follow, "shop"), partial(mirror.follow, "bank")):
        synced = asyncio.create_task(mirror.wait_until_synced())
        store.send("shop", Synced(), Put(a_stored(name="later", namespace="shop")))
        await until(lambda: "later" in mirror)
        assert not synced.done()

        store.send("bank", Put(a_stored(name="last", namespace="bank")), Synced())
        async with patience():
            await synced
        assert "last" in mirror


async def test_a_part_that_is_read_again_takes_only_its_own_records_away() -> None:
    """Its list holds no records of other namespaces, and these stay known."""
    store = InParts("shop", "bank", "zenwatch")
    mirror, gone = Mirror(store, Supervisor()), list[str]()
    mirror.call_when_changed(Origin("local", "trivy"), gone.append)
    async with background(*(partial(mirror.follow, part) for part in store.parts)):
        store.send("shop", Put(a_stored(name="stays", namespace="shop")), Put(a_stored(name="goes", namespace="shop")), Synced())
        store.send("bank", Put(a_stored(name="of a part that is synced", namespace="bank")), Synced())
        store.send("zenwatch", Put(a_stored(name="of a part that is still read", namespace="zenwatch")))
        await until(lambda: mirror.total_records == 4)

        store.send("shop", Expired("too old"), Put(a_stored(name="stays", namespace="shop")), Synced())
        await until(lambda: bool(gone))

    assert gone == ["goes"]
    assert mirror.total_records == 3
