"""What every contract.Records with its RecordCache promises. The subclass gives the fixture `harness`, over a MemoryStore."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import patience, until
from zenwatch.contract import RecordCache, Records
from zenwatch.errors import Expired
from zenwatch.model.finding import Resource
from zenwatch.model.record import Expiry, Phase, Stored
from zenwatch.model.refs import Origin

TRIVY, FALCO, ELSEWHERE = Origin("local", "trivy"), Origin("local", "falco"), Origin("elsewhere", "trivy")
HOUR_SECS = 3600
NOW = datetime.fromtimestamp(100 * HOUR_SECS, UTC)


class RecordsHarness(Protocol):
    """store: what is stored. start() begins to read it. cache and records are two sides of one thing."""

    records: Records
    cache: RecordCache
    store: MemoryStore

    def start(self) -> None: ...


class RecordsSuite:
    # ------------------------------------------------------------ what is known

    async def test_it_is_synced_only_once_all_was_read(self, harness: RecordsHarness) -> None:
        """Before that a missing name means nothing."""
        stored = await _create(harness.store)
        waiting = asyncio.create_task(harness.records.wait_until_synced())
        await asyncio.sleep(0)
        assert not waiting.done()

        harness.start()

        async with patience():
            await waiting
        assert await harness.records.get(stored.name) == stored

    async def test_an_unknown_name_is_none(self, harness: RecordsHarness) -> None:
        """None: not stored, once it is synced."""
        await _synced(harness)

        assert await harness.records.get("trivy-vuln-unknown") is None

    async def test_what_was_put_is_known_at_once(self, harness: RecordsHarness) -> None:
        """The writer's result counts before the watch repeats it."""
        await _synced(harness)
        stored = a_stored(version=7)

        harness.cache.put(stored)

        assert await harness.records.get(stored.name) == stored

    async def test_something_older_does_not_replace_something_newer(self, harness: RecordsHarness) -> None:
        """Results and watch overtake each other."""
        await _synced(harness)
        newer = a_stored(version=8, count=2)
        harness.cache.put(newer)

        harness.cache.put(a_stored(version=7, count=1))

        assert await harness.records.get(newer.name) == newer

    async def test_what_was_dropped_is_unknown(self, harness: RecordsHarness) -> None:
        """Dropping twice is dropping once."""
        await _synced(harness)
        stored = a_stored()
        harness.cache.put(stored)

        harness.cache.drop(stored.name)
        harness.cache.drop(stored.name)

        assert await harness.records.get(stored.name) is None

    async def test_changes_and_deletions_by_others_are_known(self, harness: RecordsHarness) -> None:
        """Others write to the same store."""
        await _synced(harness)
        await _create(harness.store)
        await until(lambda: harness.records.total_records == 1)

        harness.store.remove(an_event().name)

        await until(lambda: harness.records.total_records == 0)

    async def test_what_vanished_during_a_break_is_forgotten(self, harness: RecordsHarness) -> None:
        """What the second reading does not name is gone."""
        stays = await _create(harness.store, "default/Pod/nginx/CVE-2026-1")
        goes = await _create(harness.store, "default/Pod/nginx/CVE-2026-2")
        await _synced(harness)
        del harness.store.objects[goes.name]

        harness.store.break_follows(Expired("too old"))

        await until(lambda: harness.records.total_records == 1)
        assert await harness.records.get(stays.name) == stays

    # ------------------------------------------------------------ questions

    async def test_names_are_asked_for_together(self, harness: RecordsHarness) -> None:
        """Those that are not stored are missing."""
        a, b = _put(harness, name="a"), _put(harness, name="b")

        assert await harness.records.by_names(["a", "b", "c"]) == {"a": a, "b": b}

    async def test_unresolved_records_are_those_of_one_origin(self, harness: RecordsHarness) -> None:
        """Another source, or the same source in another cluster, is another origin."""
        mine = [_put(harness, name="open"), _put(harness, name="suppressed", phase=Phase.SUPPRESSED)]
        _put(harness, name="resolved", phase=Phase.RESOLVED)
        _put(harness, name="of falco", origin=FALCO)
        _put(harness, name="elsewhere", origin=ELSEWHERE)

        assert list(await harness.records.unresolved_of(TRIVY)) == mine

    async def test_an_origin_has_records_in_whatever_phase(self, harness: RecordsHarness) -> None:
        """That a tool was ever heard is what counts."""
        _put(harness, origin=FALCO, phase=Phase.RESOLVED)

        assert [await harness.records.has_any(origin) for origin in (FALCO, TRIVY)] == [True, False]

    async def test_open_records_that_were_not_seen_since(self, harness: RecordsHarness) -> None:
        """Then or earlier; only open ones, and only of the origin."""
        old = _put(harness, name="old", last_seen=HOUR_SECS)
        _put(harness, name="young", last_seen=HOUR_SECS + 1)
        _put(harness, name="resolved", last_seen=1, phase=Phase.RESOLVED)
        _put(harness, name="elsewhere", last_seen=1, origin=ELSEWHERE)

        assert list(await harness.records.open_not_seen_since(TRIVY, datetime.fromtimestamp(HOUR_SECS, UTC))) == [old]

    async def test_expired_records_are_resolved_or_pushed_and_old(self, harness: RecordsHarness) -> None:
        """A record's own time goes before."""
        expiry = Expiry(10 * HOUR_SECS, frozenset({FALCO}))
        over = [
            _put(harness, name="resolved", phase=Phase.RESOLVED, last_seen=90 * HOUR_SECS),
            _put(harness, name="pushed", origin=FALCO, last_seen=90 * HOUR_SECS),
            _put(harness, name="short", phase=Phase.RESOLVED, last_seen=98 * HOUR_SECS, ttl_secs=float(HOUR_SECS)),
        ]
        _put(harness, name="still there", last_seen=1)
        _put(harness, name="young", phase=Phase.RESOLVED, last_seen=91 * HOUR_SECS)
        _put(harness, name="long", phase=Phase.RESOLVED, last_seen=1, ttl_secs=1000.0 * HOUR_SECS)

        assert list(await harness.records.expired(expiry, NOW)) == over

    async def test_resolved_records_come_the_longest_unseen_first(self, harness: RecordsHarness) -> None:
        """As many as asked for."""
        for number in (3, 1, 2):
            _put(harness, name=f"r{number}", phase=Phase.RESOLVED, last_seen=number)
        _put(harness, name="open", last_seen=0)

        assert [stored.name for stored in await harness.records.oldest_resolved(2)] == ["r1", "r2"]

    async def test_open_records_are_counted_by_origin(self, harness: RecordsHarness) -> None:
        """Two clusters with the same tool are two counts."""
        for number, origin in enumerate((TRIVY, TRIVY, FALCO, ELSEWHERE)):
            _put(harness, name=f"r{number}", origin=origin)
        _put(harness, name="resolved", phase=Phase.RESOLVED)

        assert await harness.records.open_counts() == {TRIVY: 2, FALCO: 1, ELSEWHERE: 1}

    async def test_the_top_groups_are_the_worst_and_all_are_counted(self, harness: RecordsHarness) -> None:
        """By namespace, for one; tests of the groups themselves are in tests/unit/store/crd/test_top.py."""
        for number, namespace in enumerate(("shop", "bank", "bank")):
            _put(harness, name=f"r{number}", resource=Resource(namespace=namespace))

        groups, total = await harness.records.top("namespace", 1)

        assert ([(group["value"], group["open"]) for group in groups], total) == ([("bank", 2)], 2)

    async def test_totals_follow_every_change(self, harness: RecordsHarness) -> None:
        """In records and in bytes."""
        _put(harness, name="a", size_units=2)
        _put(harness, name="b", size_units=3)
        assert (harness.records.total_records, harness.records.total_bytes) == (2, 5 * 64)

        harness.cache.drop("a")

        assert (harness.records.total_records, harness.records.total_bytes) == (1, 3 * 64)

    async def test_an_origin_is_called_for_each_of_its_records_that_disappears(self, harness: RecordsHarness) -> None:
        """Once for each, not for those of others, and not any more once it does not want to know."""
        gone: list[str] = []
        harness.records.call_when_changed(TRIVY, gone.append)
        for name, origin in (("a", TRIVY), ("b", ELSEWHERE), ("c", TRIVY)):
            _put(harness, name=name, origin=origin)

        for name in ("a", "a", "b"):
            harness.cache.drop(name)
        harness.records.call_when_changed(TRIVY, None)
        harness.cache.drop("c")

        assert gone == ["a"]


def _put(harness: RecordsHarness, **changes: object) -> Stored:
    stored = a_stored(**changes)
    harness.cache.put(stored)
    return stored


async def _create(store: MemoryStore, key: str = "default/Pod/nginx/CVE-2026-1") -> Stored:
    stored, _ = await store.create(an_event(key=key), spec_hash="a")
    return stored


async def _synced(harness: RecordsHarness) -> None:
    harness.start()
    async with patience():
        await harness.records.wait_until_synced()
