"""Parts of zenwatch/processing that stop and start again in a running process, as they do when another process leads meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.builders.findings import POD, REPORTS, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.pipelines.core import Core, a_core
from tests.support.pipelines.pull import Pipeline, a_pipeline, running
from tests.support.pipelines.push import FALCO, Push, a_push, an_alert
from tests.support.tasks import patience, until
from zenwatch.buffer.memory import MemoryInbox
from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.contract import Inbox
from zenwatch.errors import Transient
from zenwatch.model.finding import Severity
from zenwatch.model.record import Phase, Reason, Status
from zenwatch.model.refs import Origin, ReportRef, Scope
from zenwatch.processing.rollup import is_rollup
from zenwatch.processing.self_findings import SCOPE as SELF_SCOPE
from zenwatch.processing.self_findings import SelfFinding, SelfReporter

FALCO_ORIGIN = Origin("local", "falco")
SCOPE, NGINX = Scope(REPORTS), ReportRef(REPORTS, "default", "pod-nginx")

# ---------------------------------------------------------------- PushProcessor


@asynccontextmanager
async def a_processor(inbox: Inbox, *, core: Core | None = None, coalesce_secs: float = 0.0) -> AsyncIterator[Push]:
    """Mirror and writer run; the processor does not yet."""
    core = core or a_core()
    push = a_push(FALCO, core, inbox, coalesce_secs=coalesce_secs)
    await core.mirror.start()
    await core.writer.start()
    await core.mirror.wait_until_synced()
    try:
        yield push
    finally:
        await core.supervisor.stop()


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def settled_in_time(push: Push) -> None:
    """Let pauses pass until no event is in flight."""
    async with patience():
        while push.ledger.page(FALCO_ORIGIN)["in_flight"]:
            await turns(50)
            push.clock.advance(secs=5.0)


def counts(push: Push) -> dict[str, int]:
    return {key: count for key, (count, _) in push.sightings().items()}


async def test_a_processor_that_stops_and_starts_counts_every_event_once() -> None:
    """Ten times, while events are offered and writes are held up at different moments."""
    async with a_processor(MemoryInbox(FALCO_ORIGIN, capacity_events=1000)) as push:
        for life in range(10):
            await push.processor.start()
            if life % 3 == 0:
                push.store.hold_writes()
            for second in range(5):
                assert await push.intake.offer([an_alert(key, second=second) for key in "abc"], filtered=0, rejected=0)
                await turns(life)
            await push.processor.stop()
            push.store.let_go()
        await push.processor.start()
        await push.settled()

    assert counts(push) == dict.fromkeys("abc", 50)
    assert push.page() == {"received": 150, "stored": 3, "repeated": 147}


@settings(deadline=None, max_examples=60)
@given(
    lives=st.lists(
        st.tuples(st.lists(st.sampled_from("abcdef"), max_size=6), st.sampled_from(["ok", "held", "away", "unread"]), st.integers(0, 30)),
        min_size=1,
        max_size=6,
    )
)
async def test_a_processor_may_be_stopped_at_any_moment(lives: Sequence[tuple[Sequence[str], str, int]]) -> None:
    """Before, between and after the steps of a write; while it waits for a store that is away; while it reads what is stored."""
    sent: dict[str, int] = {}
    # Half of the keys are stored by an earlier process: they have to be read before they are counted.
    earlier = a_core()
    async with a_processor(MemoryInbox(FALCO_ORIGIN, capacity_events=100), core=earlier) as before:
        await before.processor.start()
        await before.post(*[an_alert(key) for key in "abc"])
    core = a_core(store=earlier.store, clock=FakeClock())
    async with a_processor(MemoryInbox(FALCO_ORIGIN, capacity_events=100), core=core) as push:
        for keys, fault, steps in lives:
            if fault == "held":
                push.store.hold_writes()
            elif fault != "ok":
                push.store.fail_next(2, Transient("away"), of="read" if fault == "unread" else "write")
            await push.processor.start()
            if keys:
                assert await push.intake.offer([an_alert(key, second=1) for key in keys], filtered=0, rejected=0)
            for key in keys:
                sent[key] = sent.get(key, 0) + 1
            await turns(steps)
            await push.processor.stop()
            push.store.let_go()
        await push.processor.start()
        await settled_in_time(push)

    assert counts(push) == {key: sent.get(key, 0) + (key in "abc") for key in {*"abc", *sent}}
    assert push.ledger.page(FALCO_ORIGIN)["received"] == sum(sent.values())


async def test_a_processor_that_is_stopped_during_a_pause_writes_after_it() -> None:
    """The records that were due are due again."""
    core = a_core(clock=FakeClock())
    async with a_processor(MemoryInbox(FALCO_ORIGIN, capacity_events=10), core=core) as push:
        await push.processor.start()
        push.store.fail_next(1, Transient("away"), of="read")
        await push.post(an_alert("a"))
        # The process has forgotten what the record shows of earlier sightings, and cannot read it.
        again = a_push(FALCO, core, MemoryInbox(FALCO_ORIGIN, capacity_events=10))
        await push.processor.stop()
        await again.processor.start()
        assert await again.intake.offer([an_alert("a", second=1)], filtered=0, rejected=0)
        await core.clock.until_someone_waits()
        await again.processor.stop()

        await again.processor.start()
        await settled_in_time(again)

    assert counts(again) == {"a": 2}


async def test_a_processor_over_a_spool_that_stops_and_starts_counts_every_event_once(tmp_path: Path) -> None:
    """The intents that were announced before the stop are carried out after the start."""
    core = a_core()
    spool = Spool(str(tmp_path), core.supervisor, max_bytes=1 << 24, window_events=20)
    await spool.start()
    async with a_processor(spool.inbox(FALCO_ORIGIN), core=core) as push:
        for life in range(10):
            await push.processor.start()
            if life % 2:
                push.store.lose_answers(1)
            assert await push.intake.offer([an_alert(key, second=life) for key in "abcabc"], filtered=0, rejected=0)
            await turns(5 * life)
            await push.processor.stop()
            push.store.lose_answers(0)
        await push.processor.start()
        await push.settled()
        await until(lambda: not spool.fill.used)
    await spool.close()

    assert counts(push) == dict.fromkeys("abc", 20)
    assert push.page() == {"received": 60, "stored": 3, "repeated": 57}


# ---------------------------------------------------------------- Reconciler


async def settle(pipeline: Pipeline) -> None:
    pipeline.intake.take(NGINX, "1", [a_finding(vuln_id=f"CVE-2026-{number}") for number in range(3)], subject=POD)
    pipeline.intake.replace_all(SCOPE, {NGINX})
    await pipeline.intake.settle()


async def test_records_that_somebody_else_resolved_meanwhile_are_open_again() -> None:
    """A report holds them: whoever resolved them could not see it."""
    async with running(scopes=frozenset({SCOPE})) as pipeline:
        await settle(pipeline)
        [first, *_] = list(pipeline.store.objects)
        stored = pipeline.store.stored(first)
        resolved = await pipeline.store.set_status(stored, Status(Phase.RESOLVED, reason=Reason.REPORT_GONE), now=pipeline.clock.now())
        pipeline.mirror.put(resolved)
        await pipeline.intake.settle()
        assert pipeline.store.stored(first).is_resolved

        pipeline.intake.recheck_all()
        pipeline.store.calls.clear()
        await pipeline.intake.settle()

        assert pipeline.store.calls == [("set_status", first)]
    assert pipeline.store.objects[first]["status"] | {"lastSeen": ""} == {
        "phase": "Open",
        "count": 1,
        "reopened": 1,
        "reason": "Reopened",
        "firstSeen": "2026-01-01T00:00:00Z",
        "lastSeen": "",
    }
    assert pipeline.page() == {"received": 3, "stored": 3}


async def test_records_that_somebody_else_deleted_meanwhile_are_written_again() -> None:
    """Also where nobody called the reconciler while it did not work."""
    async with running(scopes=frozenset({SCOPE})) as pipeline:
        await settle(pipeline)
        pipeline.mirror.call_when_changed(pipeline.origin, None)
        [first, *_] = list(pipeline.store.objects)
        pipeline.store.remove(first)
        await until(lambda: pipeline.mirror.total_records == 2)
        await pipeline.intake.settle()
        assert first not in pipeline.store.objects

        pipeline.intake.recheck_all()
        await pipeline.intake.settle()

    assert first in pipeline.store.objects
    assert pipeline.page() == {"received": 3, "stored": 3}


async def test_records_that_nobody_changed_meanwhile_are_not_written() -> None:
    """They are compared, no more."""
    async with running(scopes=frozenset({SCOPE})) as pipeline:
        await settle(pipeline)
        pipeline.store.calls.clear()

        pipeline.intake.recheck_all()
        await pipeline.intake.settle()

    assert pipeline.store.calls == []
    assert pipeline.page() == {"received": 3, "stored": 3}


async def test_a_rollup_that_somebody_else_resolved_meanwhile_is_open_again() -> None:
    """It still stands for findings that have no space."""
    async with running(scopes=frozenset({SCOPE}), budget_records=2) as pipeline:
        await settle(pipeline)
        [rollup] = [name for name in pipeline.store.objects if is_rollup(name)]
        stored = pipeline.store.stored(rollup)
        status = Status(Phase.RESOLVED, stored.count, reason=Reason.ROLLUP_ENDED)
        pipeline.mirror.put(await pipeline.store.set_status(stored, status, now=pipeline.clock.now()))

        pipeline.intake.recheck_all()
        await pipeline.intake.settle()

    assert pipeline.store.stored(rollup).is_open


# ---------------------------------------------------------------- SelfReporter

BUDGET_IS_FULL = SelfFinding("record-budget", "", Severity.HIGH, "The record budget is full", "Raise RECORD_BUDGET.")
TRIVY_IS_SILENT = SelfFinding("source-silent", "trivy", Severity.HIGH, "trivy is silent", "See whether it runs.")


@asynccontextmanager
async def a_reporter() -> AsyncIterator[tuple[SelfReporter, Pipeline]]:
    """Mirror and writer run; the reporter does not yet."""
    pipeline = a_pipeline(origin=Origin("local", "zenwatch"), grace_secs=600.0, scopes=frozenset({SELF_SCOPE}))
    await pipeline.mirror.start()
    await pipeline.writer.start()
    try:
        yield SelfReporter(pipeline.intake, pipeline.supervisor, clock=pipeline.clock), pipeline
    finally:
        await pipeline.supervisor.stop()


def phases(pipeline: Pipeline) -> dict[str, str]:
    return {record["spec"]["eventType"]: record["status"]["phase"] for record in pipeline.store.objects.values()}


async def settled(pipeline: Pipeline) -> None:
    await until(lambda: not pipeline.ledger.page(pipeline.origin)["in_flight"])


async def test_what_is_reported_while_the_reporter_is_stopped_is_stored_after_its_start() -> None:
    """And not before: another process leads."""
    async with a_reporter() as (reporter, pipeline):
        reporter.report(BUDGET_IS_FULL)
        await turns(100)
        assert pipeline.store.calls == []

        await reporter.start()
        await settled(pipeline)

    assert phases(pipeline) == {"record-budget": "Open"}


async def test_a_reporter_that_stops_and_starts_writes_nothing_again() -> None:
    """Ten times: what is still true is compared with its record, and the accounts balance."""
    async with a_reporter() as (reporter, pipeline):
        for _ in range(10):
            await reporter.start()
            reporter.report(BUDGET_IS_FULL)
            await settled(pipeline)
            await reporter.stop()

    assert pipeline.store.operations() == ["create"]
    assert pipeline.page() == {"received": 10, "stored": 1, "repeated": 9}


async def test_what_another_process_resolved_meanwhile_and_is_still_true_is_open_again() -> None:
    """The other one did not know of it."""
    async with a_reporter() as (reporter, pipeline):
        await reporter.start()
        reporter.report(BUDGET_IS_FULL)
        await settled(pipeline)
        await reporter.stop()
        [name] = pipeline.store.objects
        stored = pipeline.store.stored(name)
        resolved = await pipeline.store.set_status(stored, Status(Phase.RESOLVED, reason=Reason.REPORT_GONE), now=pipeline.clock.now())
        await until(lambda: pipeline.mirror.total_records == 1)
        pipeline.mirror.put(resolved)

        await reporter.start()
        await until(lambda: phases(pipeline) == {"record-budget": "Open"})

    assert pipeline.store.stored(name).reopened == 1


@pytest.mark.parametrize("is_withdrawn_while_stopped", [True, False])
async def test_what_is_withdrawn_is_resolved_once(*, is_withdrawn_while_stopped: bool) -> None:
    """Whenever it ended; the other finding stays open."""
    async with a_reporter() as (reporter, pipeline):
        await reporter.start()
        reporter.report(BUDGET_IS_FULL)
        reporter.report(TRIVY_IS_SILENT)
        await until(lambda: len(pipeline.store.objects) == 2)
        if is_withdrawn_while_stopped:
            await reporter.stop()
        reporter.withdraw("record-budget", "")
        if is_withdrawn_while_stopped:
            await reporter.start()
        await until(lambda: phases(pipeline) == {"record-budget": "Resolved", "source-silent": "Open"})
        await reporter.stop()
        await reporter.start()
        await settled(pipeline)
        await reporter.stop()

    assert pipeline.store.operations() == ["create", "create", "set_status"]
