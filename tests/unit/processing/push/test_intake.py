"""zenwatch/processing/push/intake.py: a pushed event is stored once, each repetition is counted, and the accounts have every event."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.builders.findings import DETECTED_AT
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.push import AUDIT, an_alert, pushing
from tests.support.tasks import background, until
from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.errors import Forbidden, Invalid, NotFound, Transient
from zenwatch.model.record import spec_hash
from zenwatch.model.refs import Origin
from zenwatch.processing.event.normalise import normalise
from zenwatch.runtime.supervise import Supervisor

FALCO_ORIGIN = Origin("local", "falco")

# ---------------------------------------------------------------- one record


async def test_an_event_becomes_a_record_with_one_write() -> None:
    """The defaults of the status are right for a new record."""
    async with pushing() as push:
        assert await push.post(an_alert())

    assert push.sightings() == {"shell": (1, ["00: a shell"])}
    assert push.store.operations() == ["create"]
    assert push.page() == {"received": 1, "stored": 1}


async def test_a_burst_of_one_alert_is_one_record() -> None:
    """The count is the number of alerts, and the last five samples are kept in their order."""
    async with pushing() as push:
        for second in range(8):
            await push.post(an_alert(second=second))

    assert push.sightings() == {"shell": (8, [f"{second:02}: a shell" for second in range(3, 8)])}
    [record] = push.store.objects.values()
    assert (record["spec"]["detectedAt"], record["status"]["lastSeen"]) == ("2026-01-01T10:00:00Z", "2026-01-01T10:00:07Z")
    assert push.page() == {"received": 8, "stored": 1, "repeated": 7}


async def test_all_alerts_that_come_during_a_write_are_one_more_write() -> None:
    """The number of writes depends on the store, not on the number of alerts."""
    async with pushing() as push:
        push.store.hold_writes()
        for second in range(9):
            assert await push.intake.offer([an_alert(second=second)], filtered=0, rejected=0)
            await asyncio.sleep(0)
        push.store.let_go()
        await push.settled()

    assert push.sightings() == {"shell": (9, [f"{second:02}: a shell" for second in range(4, 9)])}
    assert len(push.store.calls) <= 4
    assert push.page() == {"received": 9, "stored": 1, "repeated": 8}


async def test_equal_samples_are_kept_once() -> None:
    """Five equal samples would push out others."""
    async with pushing() as push:
        for second in range(3):
            await push.post(an_alert(second=second, sample="a shell"))

    assert push.sightings() == {"shell": (3, ["a shell"])}


async def test_an_older_event_does_not_lower_the_time_of_the_last_sighting() -> None:
    """Alerts of two nodes come in any order."""
    async with pushing() as push:
        await push.post(an_alert(second=9))
        await push.post(an_alert(second=3))
        await push.post(an_alert(second=1))

    [record] = push.store.objects.values()
    assert record["status"]["lastSeen"] == "2026-01-01T10:00:09Z"


async def test_after_a_restart_the_count_goes_on() -> None:
    """The record is read before it is written, so that its earlier samples stay."""
    store = MemoryStore()
    async with pushing(store=store) as push:
        for second in range(3):
            await push.post(an_alert(second=second))
    async with pushing(store=store) as again:
        await again.post(an_alert(second=3))

    assert again.sightings() == {"shell": (4, ["00: a shell", "01: a shell", "02: a shell", "03: a shell"])}
    assert again.page() == {"received": 1, "repeated": 1}


async def test_a_record_that_another_replica_stored_meanwhile_is_counted_up() -> None:
    """The create returns the record, and its count is kept."""
    async with pushing() as push:
        other, theirs = MemoryStore(), normalise(an_alert(sample="00: theirs"), cluster_id="local", seen_at=DETECTED_AT)
        await other.create(theirs, spec_hash=spec_hash(theirs))
        # Before the watch reports it.
        push.store.objects.update(other.objects)
        await push.post(an_alert(second=1))

    assert push.sightings() == {"shell": (2, ["00: theirs", "01: a shell"])}
    assert push.page() == {"received": 1, "repeated": 1}


async def test_a_lost_answer_to_a_create_is_no_second_sighting() -> None:
    """The record that the second try finds has the spec that we wrote: it is our own."""
    async with pushing() as push:
        push.store.lose_answers(1)
        await push.post(an_alert())

    assert push.sightings() == {"shell": (1, ["00: a shell"])}
    assert push.page() == {"received": 1, "stored": 1}


async def test_a_record_that_somebody_deleted_is_created_again() -> None:
    """It counts the alerts since then."""
    async with pushing() as push:
        await push.post(an_alert(second=0))
        [name] = push.store.objects
        del push.store.objects[name]
        await push.post(an_alert(second=1))

    assert push.sightings()["shell"][0] == 1
    assert push.page() == {"received": 2, "stored": 2}


# ---------------------------------------------------------------- the same event again


async def test_an_event_that_is_sent_again_is_not_counted() -> None:
    """The API server resends whole batches; the audit ID shows that it is the same event."""
    async with pushing(AUDIT) as push:
        event = an_alert(watcher=AUDIT)
        await push.post(event, event)
        await push.post(event)

    assert push.sightings() == {"shell": (1, ["00: a shell"])}
    assert push.store.operations() == ["create"]
    assert push.page() == {"received": 3, "stored": 1, "repeated": 2}


async def test_an_event_that_is_sent_again_after_a_restart_is_not_counted() -> None:
    """Its name is the same, whatever else differs."""
    store = MemoryStore()
    async with pushing(AUDIT, store=store) as push:
        await push.post(an_alert(watcher=AUDIT))
    store.calls.clear()
    async with pushing(AUDIT, store=store) as push:
        await push.post(an_alert(watcher=AUDIT, title="another title"))

    assert store.operations() == []
    assert push.page() == {"received": 1, "repeated": 1}


# ---------------------------------------------------------------- bounds


async def test_a_full_buffer_accepts_nothing_of_a_batch_that_is_sent_again() -> None:
    """Nothing of it is counted now: it is counted when it is accepted."""
    async with pushing(AUDIT, capacity_events=2, is_started=False) as push:
        assert await push.intake.offer([an_alert("a", watcher=AUDIT)], filtered=3, rejected=1)
        assert not await push.intake.offer([an_alert(key, watcher=AUDIT) for key in "bc"], filtered=5, rejected=5)

    assert push.page() == {"received": 5, "filtered": 3, "rejected": 1, "in_flight": 1}


async def test_an_event_that_is_refused_and_not_sent_again_is_counted_as_lost() -> None:
    """Falco ignores the response."""
    async with pushing(capacity_events=1, is_started=False) as push:
        assert await push.intake.offer([an_alert("a")], filtered=0, rejected=0)
        assert not await push.intake.offer([an_alert("b")], filtered=1, rejected=0)

    assert push.page() == {"received": 3, "filtered": 1, "lost": 1, "in_flight": 1}


async def test_a_body_of_which_nothing_is_stored_needs_no_capacity() -> None:
    """Most audit events are filtered; a full buffer does not make the sender repeat them."""
    async with pushing(AUDIT, capacity_events=1, is_started=False) as push:
        assert await push.intake.offer([an_alert("a", watcher=AUDIT)], filtered=0, rejected=0)
        assert await push.intake.offer([], filtered=400, rejected=0)

    assert push.page() == {"received": 401, "filtered": 400, "in_flight": 1}


async def test_records_need_capacity_and_sightings_do_not() -> None:
    """While the store is away, a thousand equal alerts need no more capacity than one."""
    async with pushing(capacity_events=2) as push:
        push.store.hold_writes()
        for second in range(30):
            assert await push.intake.offer([an_alert(second=second)], filtered=0, rejected=0)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await push.intake.offer([an_alert("other")], filtered=0, rejected=0)
        await asyncio.sleep(0)
        assert not await push.intake.offer([an_alert("third")], filtered=0, rejected=0)
        push.store.let_go()
        await push.settled()

    assert {key: count for key, (count, _) in push.sightings().items()} == {"shell": 30, "other": 1}


async def test_a_record_stays_under_its_size_whatever_is_pushed() -> None:
    """A megabyte of output is cut before it is buffered."""
    async with pushing() as push:
        for second in range(6):
            await push.post(an_alert(second=second, sample=f"{second}" + "x" * 100_000, title="y" * 100_000))

    [record] = push.store.objects.values()
    assert len(str(record)) < 16 * 1024
    assert len(record["spec"]["details"]["samples"]) == 5


# ---------------------------------------------------------------- a store that fails


@pytest.mark.parametrize("error", [Transient("503"), Forbidden("missing permission: create")])
async def test_an_event_waits_for_a_store_that_is_away(error: Exception) -> None:
    """Nobody sends it again: the write is tried until it succeeds."""
    async with pushing() as push:
        push.store.fail_next(11, error)
        await push.post(an_alert("a"), an_alert("b"))

    assert push.page() == {"received": 2, "stored": 2}


async def test_a_count_that_could_not_be_written_is_not_forgotten() -> None:
    """Nor is it counted twice."""
    async with pushing() as push:
        await push.post(an_alert(second=0))
        push.store.fail_next(9, Transient("503"))
        await push.post(an_alert(second=1))
        push.store.fail_next(5, Transient("503"), of="set_status")
        await push.post(an_alert(second=2))

    assert push.sightings()["shell"] == (3, ["00: a shell", "01: a shell", "02: a shell"])


async def test_a_record_that_is_refused_for_good_is_a_dead_letter() -> None:
    """It does not hold up the others."""
    async with pushing() as push:
        push.store.fail_next(1, Invalid("422"))
        await push.post(an_alert("a"))
        await push.post(an_alert("b"))

    assert push.page() == {"received": 2, "stored": 1, "dead_lettered": 1}


@pytest.mark.parametrize("error", [Transient("503"), NotFound("gone"), Forbidden("no")])
async def test_a_record_is_read_again_until_its_samples_are_known(error: Exception) -> None:
    """A write without them would lose the earlier samples."""
    store = MemoryStore()
    async with pushing(store=store) as push:
        await push.post(an_alert(second=0))
    async with pushing(store=store) as push:
        store.fail_next(2, error, of="read")
        await push.post(an_alert(second=1))

    assert push.page()["received"] == 1
    assert push.page().get("repeated", 0) + push.page().get("stored", 0) == 1


# ---------------------------------------------------------------- the end


async def test_drain_waits_until_everything_is_stored() -> None:
    """All acknowledged events are stored before the process ends, and no more are accepted."""
    async with pushing() as push:
        push.store.hold_writes()
        for key in "abc":
            await push.intake.offer([an_alert(key)], filtered=0, rejected=0)
        draining = asyncio.create_task(push.processor.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        push.store.let_go()
        await asyncio.wait_for(draining, 5)
        assert not await push.intake.offer([an_alert("d")], filtered=0, rejected=0)

    assert push.page() == {"received": 4, "stored": 3, "lost": 1}


async def test_events_that_are_left_at_the_deadline_are_counted_as_lost() -> None:
    """The memory buffer ends with the process."""
    async with pushing() as push:
        push.store.hold_writes()
        await push.intake.offer([an_alert(key) for key in "abc"], filtered=0, rejected=0)
        await asyncio.sleep(0.01)
        push.processor.lose_the_rest()
        push.processor.lose_the_rest()

    assert push.page() == {"received": 3, "lost": 3}


# ---------------------------------------------------------------- how an event ended


async def test_the_outcome_of_an_event_can_be_searched() -> None:
    """By its key or by the name of its record; also while it is in flight."""
    async with pushing(capacity_events=2) as push:
        push.store.hold_writes()
        await push.intake.offer([an_alert("a")], filtered=0, rejected=0)
        await until(lambda: bool(push.store.calls))
        on_its_way = push.outcome_log.find("a")
        push.store.let_go()
        await push.settled()
        stored = push.outcome_log.find("a")
        await push.post(an_alert("a", second=1))
        by_name = push.outcome_log.find(stored[0]["name"])
        push.store.fail_next(1, Invalid("422"))
        await push.post(an_alert("b"))

    assert [logged["outcome"] for logged in (*on_its_way, *stored, *by_name, *push.outcome_log.find("b"))] == [
        "in_flight",
        "stored",
        "repeated",
        "dead_lettered",
    ]
    assert on_its_way[0]["why"] == "It is being written."
    assert push.outcome_log.find("c") == []


# ---------------------------------------------------------------- all together

BODIES = st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=12)
FAULTS = st.lists(st.sampled_from(["ok", "transient", "lost answer", "deleted"]), max_size=12)


@settings(deadline=None, max_examples=60)
@given(bodies=BODIES, faults=FAULTS)
async def test_every_sighting_is_counted_once_whatever_fails(bodies: Sequence[Sequence[str]], faults: Sequence[str]) -> None:
    """The counts of the records are the number of alerts."""
    sent: dict[str, int] = {}
    async with pushing(capacity_events=100) as push:
        for second, body in enumerate(bodies):
            fault = faults[second] if second < len(faults) else "ok"
            if fault == "transient":
                push.store.fail_next(1 + second % 6, Transient("503"))
            elif fault == "lost answer":
                push.store.lose_answers(1)
            await push.intake.offer([an_alert(key, second=second, sample=f"{second}") for key in body], filtered=0, rejected=0)
            for key in body:
                sent[key] = sent.get(key, 0) + 1
            for _ in range(second % 4):
                await asyncio.sleep(0)
        await push.settled()

    assert {key: count for key, (count, _) in push.sightings().items()} == sent
    assert push.page() == {
        line: count
        for line, count in {"received": sum(sent.values()), "stored": len(sent), "repeated": sum(sent.values()) - len(sent)}.items()
        if count
    }


# ---------------------------------------------------------------- with a spool: a process that dies

CRASHES = st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=BODIES, crashes=CRASHES, faults=FAULTS)
async def test_every_acknowledged_sighting_is_counted_once_whenever_the_process_dies(
    bodies: Sequence[Sequence[str]], crashes: Sequence[int], faults: Sequence[str], tmp_path: Path
) -> None:
    """It may die before a write, before its result, or after it: the counts are the number of acknowledged alerts."""
    folder = str(tmp_path / uuid4().hex)
    store = MemoryStore()
    sent: dict[str, int] = {}
    left = list(bodies)
    for life, schedule in enumerate([*crashes, None]):
        spool = Spool(folder, Supervisor(), max_bytes=1 << 24)
        async with background(spool.run), pushing(store=store, inbox=spool.inbox(FALCO_ORIGIN), balances=schedule is None) as push:
            share = left[: 1 + life] if schedule is not None else left
            del left[: len(share)]
            for second, body in enumerate(share):
                fault = faults[second] if second < len(faults) else "ok"
                if fault == "lost answer":
                    store.lose_answers(1)
                elif fault == "transient":
                    store.fail_next(1 + second, Transient("503"))
                findings = [an_alert(key, second=second, sample=f"{life}-{second}-{number}") for number, key in enumerate(body)]
                if findings and await push.intake.offer(findings, filtered=0, rejected=0):
                    for key in body:
                        sent[key] = sent.get(key, 0) + 1
            if schedule is None:
                await until(lambda: not push.processor.is_busy and not push.inbox.fill.used)
            else:
                for _ in range(schedule):
                    await asyncio.sleep(0)
        # As a kill would leave it: nothing more is committed.
        spool._thread.shutdown()
        spool.database.close()
        store.lose_answers(0)

    assert {record["spec"]["key"]: record["status"]["count"] for record in store.objects.values()} == sent


async def test_a_storm_of_one_alert_is_one_write_per_window(tmp_path: Path) -> None:
    """Ten thousand equal alerts: the record is created at once, then written once per window, and the count is right."""
    clock = FakeClock()
    spool = Spool(str(tmp_path), Supervisor(), max_bytes=1 << 26)
    async with background(spool.run), pushing(inbox=spool.inbox(FALCO_ORIGIN), clock=clock, coalesce_secs=5.0) as push:
        for second in range(3):
            for _ in range(10):
                await push.intake.offer([an_alert(second=second, sample="a shell")] * 330, filtered=0, rejected=0)
            await until(lambda: not push.inbox.is_pressed)
            clock.advance(secs=5.0)
            await asyncio.sleep(0.05)
        await push.processor.drain()
    await spool.close()

    assert push.sightings() == {"shell": (9900, ["a shell"])}
    assert push.store.operations().count("set_status") <= 4
    assert push.store.operations().count("update") == 0
    assert push.page() == {"received": 9900, "stored": 1, "repeated": 9899}
