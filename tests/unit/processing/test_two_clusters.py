"""Two clusters in one process: their findings have the same keys, and neither resolves nor counts the other's records."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.builders.findings import DETECTED_AT, POD, REPORTS, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.core import Core, a_core
from tests.support.pipelines.pull import Pipeline, a_pipeline
from tests.support.pipelines.push import FALCO, Push, a_push, an_alert
from tests.support.tasks import background, until
from zenwatch.buffer.memory import MemoryInbox
from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.contract import Inbox
from zenwatch.model.finding import Finding, Severity
from zenwatch.model.record import Phase
from zenwatch.model.refs import Origin, ReportRef, Scope
from zenwatch.processing.push.inactivity import InactivityResolver
from zenwatch.runtime.supervise import Supervisor

A, B = Origin("a", "trivy"), Origin("b", "trivy")
SCOPE, NGINX = Scope(REPORTS), ReportRef(REPORTS, "default", "pod-nginx")
FINDINGS = [a_finding(vuln_id="CVE-2026-1"), a_finding(vuln_id="CVE-2026-2")]
GRACE_SECS = 600.0
DAY_SECS = 86_400.0


def a_core_of_two(*, budget_records: int = 1000) -> Core:
    return a_core(store=MemoryStore(cluster_ids=["a", "b"]), clock=FakeClock(skips_waits=True), budget_records=budget_records)


def phases(core: Core, cluster_id: str) -> list[str]:
    """Of all records of one cluster."""
    return [record["status"]["phase"] for record in core.store.objects.values() if record["spec"]["clusterID"] == cluster_id]


def counts(core: Core, cluster_id: str) -> dict[str, int]:
    """The count of each record of one cluster, by key."""
    records = [record for record in core.store.objects.values() if record["spec"]["clusterID"] == cluster_id]
    return {record["spec"]["key"]: record["status"]["count"] for record in records}


# ---------------------------------------------------------------- reports


@dataclass(frozen=True)
class TwoPulls:
    core: Core
    a: Pipeline
    b: Pipeline

    async def settle(self) -> None:
        await self.a.intake.settle()
        await self.b.intake.settle()


@asynccontextmanager
async def pulling(core: Core) -> AsyncIterator[TwoPulls]:
    """One pipeline for each cluster, over one store, mirror, writer and ledger."""
    a, b = (a_pipeline(origin=origin, core=core, grace_secs=GRACE_SECS, scopes=frozenset({SCOPE})) for origin in (A, B))
    async with background(core.mirror.follow, core.writer.work, core.writer.work):
        yield TwoPulls(core, a, b)


async def list_reports(pipeline: Pipeline, findings: Sequence[Finding] = FINDINGS) -> None:
    """The complete list of the scope: one report with these findings."""
    pipeline.intake.take(NGINX, "1", findings, subject=POD)
    pipeline.intake.replace_all(SCOPE, {NGINX})
    await pipeline.intake.settle()


async def test_the_same_finding_in_two_clusters_is_two_records() -> None:
    """And each cluster has accounts of its own."""
    async with pulling(a_core_of_two()) as pulls:
        await list_reports(pulls.a)
        await list_reports(pulls.b)

    assert (phases(pulls.core, "a"), phases(pulls.core, "b")) == (["Open"] * 2, ["Open"] * 2)
    assert pulls.a.page() == pulls.b.page() == {"received": 2, "stored": 2}
    assert await pulls.core.mirror.open_counts() == {A: 2, B: 2}


async def test_a_report_that_is_gone_resolves_the_records_of_its_own_cluster_only() -> None:
    """Both clusters have a report of this name."""
    async with pulling(a_core_of_two()) as pulls:
        await list_reports(pulls.a)
        await list_reports(pulls.b)
        pulls.a.intake.forget(NGINX)
        pulls.core.clock.advance(secs=GRACE_SECS)
        await pulls.settle()

    assert (phases(pulls.core, "a"), phases(pulls.core, "b")) == (["Resolved"] * 2, ["Open"] * 2)
    assert (pulls.a.intake.resolved, pulls.b.intake.resolved) == (2, 0)
    assert await pulls.core.mirror.open_counts() == {B: 2}


async def test_a_fixed_finding_is_fixed_in_its_own_cluster_only() -> None:
    """The other cluster still reports it."""
    async with pulling(a_core_of_two()) as pulls:
        await list_reports(pulls.a)
        await list_reports(pulls.b)
        pulls.b.intake.take(NGINX, "2", FINDINGS[:1], subject=POD)
        await pulls.settle()

    assert (phases(pulls.core, "a"), sorted(phases(pulls.core, "b"))) == (["Open"] * 2, ["Open", "Resolved"])


async def test_after_a_restart_the_list_of_one_cluster_says_nothing_about_the_other() -> None:
    """What A does not list any more is gone in A; B is not even listed yet."""
    core = a_core_of_two()
    async with pulling(core) as before:
        await list_reports(before.a)
        await list_reports(before.b)
    after_restart = a_core(store=core.store, clock=core.clock)
    async with pulling(after_restart) as pulls:
        pulls.a.intake.replace_all(SCOPE, ())
        await pulls.settle()
        core.clock.advance(secs=GRACE_SECS)
        await pulls.settle()
        assert (phases(core, "a"), phases(core, "b")) == (["Resolved"] * 2, ["Open"] * 2)

        await list_reports(pulls.b)

    assert phases(core, "b") == ["Open"] * 2
    assert (pulls.a.page(), pulls.b.page()) == ({}, {"received": 2, "repeated": 2})


async def test_a_deleted_record_is_written_again_by_its_own_cluster() -> None:
    """The other pipeline is not asked."""
    async with pulling(a_core_of_two()) as pulls:
        await list_reports(pulls.a)
        await list_reports(pulls.b)
        [name, _] = [name for name, record in pulls.core.store.objects.items() if record["spec"]["clusterID"] == "a"]
        pulls.core.store.remove(name)
        await until(lambda: pulls.core.mirror.total_records == 3)
        pulls.core.store.calls.clear()
        await pulls.b.intake.settle()
        assert pulls.core.store.calls == []

        await pulls.a.intake.settle()

    assert pulls.core.store.calls == [("create", name)]


async def test_the_findings_of_two_clusters_are_rolled_up_apart() -> None:
    """The budget is one for both; each cluster has a rollup of its own for the resource, with its own count."""
    async with pulling(a_core_of_two(budget_records=4)) as pulls:
        await list_reports(pulls.a, [a_finding(vuln_id=f"CVE-2026-{number}", severity=Severity.LOW) for number in range(5)])
        await list_reports(pulls.b, [a_finding(vuln_id=f"CVE-2026-{number}", severity=Severity.LOW) for number in range(7)])

    assert counts(pulls.core, "a")["default/Pod/nginx/*"] == 2
    assert counts(pulls.core, "b") == {"default/Pod/nginx/*": 7}
    assert pulls.core.budget.rolled_up == 2 + 7


# ---------------------------------------------------------------- alerts


@dataclass(frozen=True)
class TwoPushes:
    core: Core
    a: Push
    b: Push


@asynccontextmanager
async def pushing_to(core: Core, inbox_of_a: Inbox, inbox_of_b: Inbox) -> AsyncIterator[TwoPushes]:
    pushes = TwoPushes(core, a_push(FALCO, core, inbox_of_a, cluster_id="a"), a_push(FALCO, core, inbox_of_b, cluster_id="b"))
    await core.mirror.start()
    await core.writer.start()
    for push in (pushes.a, pushes.b):
        await push.processor.start()
    try:
        yield pushes
    finally:
        await core.supervisor.stop()


@asynccontextmanager
async def pushing_in_memory(core: Core) -> AsyncIterator[TwoPushes]:
    inbox_of_a, inbox_of_b = (MemoryInbox(Origin(cluster_id, "falco"), capacity_events=20) for cluster_id in "ab")
    async with pushing_to(core, inbox_of_a, inbox_of_b) as pushes:
        yield pushes


async def test_the_same_alert_in_two_clusters_is_counted_in_each() -> None:
    """Neither count includes the other, nor do the accounts."""
    async with pushing_in_memory(a_core_of_two()) as pushes:
        for second in range(3):
            assert await pushes.a.post(an_alert(second=second))
        for second in range(2):
            assert await pushes.b.post(an_alert(second=second))

    assert (counts(pushes.core, "a"), counts(pushes.core, "b")) == ({"shell": 3}, {"shell": 2})
    assert pushes.a.page() == {"received": 3, "stored": 1, "repeated": 2}
    assert pushes.b.page() == {"received": 2, "stored": 1, "repeated": 1}


async def test_both_outcomes_of_the_same_alert_are_found() -> None:
    """`zenwatch explain` is asked for a key; in each cluster an event has it."""
    async with pushing_in_memory(a_core_of_two()) as pushes:
        await pushes.a.post(an_alert())
        await pushes.b.post(an_alert())
        found = pushes.core.outcome_log.find("shell")

    assert [logged["outcome"] for logged in found] == ["stored", "stored"]
    assert {logged["name"] for logged in found} == set(pushes.core.store.objects)


async def test_an_alert_that_is_not_seen_again_is_resolved_in_its_own_cluster_only() -> None:
    """In the other one it goes on."""
    core = a_core_of_two()
    async with pushing_in_memory(core) as pushes:
        core.clock.advance(secs=(DETECTED_AT - core.clock.now()).total_seconds())
        await pushes.a.post(an_alert())
        await pushes.b.post(an_alert())
        core.clock.advance(secs=DAY_SECS)
        await pushes.b.post(an_alert(detected_at=DETECTED_AT + timedelta(days=1)))
        for push in (pushes.a, pushes.b):
            resolver = InactivityResolver(
                push.origin, core.mirror, core.writer, core.supervisor, resolve_after_secs=DAY_SECS, clock=core.clock
            )
            await resolver.resolve()
        await until(lambda: phases(core, "a") == [Phase.RESOLVED])
        await core.writer.drain()

    assert phases(core, "b") == [Phase.OPEN]
    assert counts(core, "b") == {"shell": 2}


@pytest.mark.parametrize("is_settled", [True, False], ids=["stored", "still in the spool"])
async def test_one_spool_keeps_the_events_of_two_clusters_apart(tmp_path: Path, *, is_settled: bool) -> None:
    """Also over a restart: each inbox gives out the events of its own cluster."""
    core = a_core_of_two()
    folder = str(tmp_path)
    if not is_settled:
        spool = Spool(folder, Supervisor(), max_bytes=1 << 20)
        await spool.start()
        for cluster_id, alerts in {"a": 3, "b": 2}.items():
            push = a_push(FALCO, core, spool.inbox(Origin(cluster_id, "falco")), cluster_id=cluster_id)
            assert await push.intake.offer([an_alert(second=second) for second in range(alerts)], filtered=0, rejected=0)
        await spool.close()
        core = a_core_of_two()
    spool = Spool(folder, core.supervisor, max_bytes=1 << 20)
    await spool.start()
    async with pushing_to(core, *(spool.inbox(Origin(cluster_id, "falco")) for cluster_id in "ab")) as pushes:
        if is_settled:
            await pushes.a.post(*[an_alert(second=second) for second in range(3)])
            await pushes.b.post(*[an_alert(second=second) for second in range(2)])
        await until(lambda: not spool.fill.used)
    await spool.close()

    assert (counts(core, "a"), counts(core, "b")) == ({"shell": 3}, {"shell": 2})
    assert [push.page()["received"] for push in (pushes.a, pushes.b)] == [3, 2]
