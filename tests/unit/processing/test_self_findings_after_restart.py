"""zenwatch/processing/self_findings.py: a finding about zenwatch or a source outlives the process that reported it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from tests.support.builders.findings import an_event
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.core import a_core, services_of
from tests.support.tasks import background
from zenwatch.model.refs import Origin, ReportRef
from zenwatch.sources.monitor.rejected import Rejection
from zenwatch.sources.monitor.source import SourceMonitor
from zenwatch.wiring.housekeeping import CHECK_EVERY_SECS, Housekeeping, self_reporter
from zenwatch.wiring.pipelines import MonitoredSource
from zenwatch.wiring.settings import Settings

TRIVY, FALCO = Origin("local", "trivy"), Origin("local", "falco")
HOUR_SECS = 3600.0
SILENCE_AFTER_SECS = 26 * HOUR_SECS
GRACE_SECS = 600.0
RECORDS_LIMIT = 10
# More than the longest chain of tasks from a look to the answer of the store.
TURNS_OF_THE_LOOP = 100


@dataclass
class Cluster:
    """What is there before and after a process: the records and the time."""

    store: MemoryStore
    clock: FakeClock

    def phases(self) -> dict[str, str]:
        """Of the records of source zenwatch, by type."""
        own = [record for record in self.store.objects.values() if record["spec"]["source"] == "zenwatch"]
        return {record["spec"]["eventType"]: record["status"]["phase"] for record in own}

    async def fill(self, records: int) -> list[str]:
        """Store so many findings of Trivy; return the names of their records."""
        events = [an_event(key=f"default/Pod/nginx/CVE-2026-{number}") for number in range(records)]
        return [(await self.store.create(event, spec_hash="a"))[0].name for event in events]

    async def advance(self, secs: float = CHECK_EVERY_SECS, *, step_secs: float = CHECK_EVERY_SECS) -> None:
        """Let time pass, and let the process do after each step what is due."""
        for _ in range(int(secs / step_secs)):
            await _let_all_run()
            self.clock.advance(secs=step_secs)
        await _let_all_run()

    async def fall_silent(self) -> None:
        """Let so much time pass that a source which does not report is silent, and is looked at twice."""
        await self.advance(SILENCE_AFTER_SECS, step_secs=HOUR_SECS)
        await self.advance(2 * CHECK_EVERY_SECS)


async def _let_all_run() -> None:
    for _ in range(TURNS_OF_THE_LOOP):
        await asyncio.sleep(0)


@pytest.fixture
def cluster() -> Cluster:
    clock, store = FakeClock(), MemoryStore()
    store.now = clock.now
    return Cluster(store, clock)


@dataclass
class Process:
    """trivy reports what is in its cluster; falco posts, and reads nothing back after a restart. has_synced: trivy's reports were read."""

    trivy: SourceMonitor
    falco: SourceMonitor
    has_synced: bool = False

    def receive(self, *fields: str, alerts: int, first: int = 0) -> None:
        """Alerts of Falco that have these fields, each with a number of its own."""
        for number in range(first, first + alerts):
            self.falco.observe({"rule": "a", "number": number, **dict.fromkeys(fields, "x")})


@asynccontextmanager
async def running(cluster: Cluster, *, has_trivy: bool = True) -> AsyncIterator[Process]:
    """One process, from its start to its end."""
    core = a_core(store=cluster.store, clock=cluster.clock, budget_records=RECORDS_LIMIT)
    services = services_of(core, Settings.read({"RESOLVE_GRACE": f"{GRACE_SECS:.0f}s"}))
    trivy = SourceMonitor(TRIVY, cluster.clock, silence_secs=SILENCE_AFTER_SECS)
    falco = SourceMonitor(FALCO, cluster.clock, silence_secs=SILENCE_AFTER_SECS, needs_usual_pause=True)

    async def is_trivy_installed() -> bool:
        return has_trivy

    async def is_falco_installed() -> bool:
        return True

    process = Process(trivy, falco)
    reports = MonitoredSource(TRIVY, trivy, is_trivy_installed, has_synced=lambda: process.has_synced)
    sources = [reports, MonitoredSource(FALCO, falco, is_falco_installed)]
    reporter = self_reporter(services)
    housekeeping = Housekeeping(services, sources, reporter)
    async with background(core.mirror.follow, core.writer.work):
        await reporter.start()
        await housekeeping.start()
        await _let_all_run()
        try:
            yield process
        finally:
            await core.supervisor.stop()


def a_report_of(when: str) -> dict[str, object]:
    return {"metadata": {"name": "pod-nginx", "creationTimestamp": when}}


def since(cluster: Cluster, before: int) -> Sequence[str]:
    """The writes that were tried after the first ones."""
    return cluster.store.operations()[before:]


# ---------------------------------------------------------------- the record budget


async def test_a_budget_that_is_still_nearly_full_after_a_restart_writes_nothing(cluster: Cluster) -> None:
    """The record that reports it stays open: neither resolved and reopened, nor written again."""
    await cluster.fill(RECORDS_LIMIT - 2)
    async with running(cluster):
        await cluster.advance()
    assert cluster.phases() == {"record-budget": "Open"}
    before = len(cluster.store.calls)

    async with running(cluster):
        await cluster.advance(GRACE_SECS + 2 * CHECK_EVERY_SECS)

    assert cluster.phases() == {"record-budget": "Open"}
    assert since(cluster, before) == []


async def test_a_budget_that_has_space_again_after_a_restart_is_resolved(cluster: Cluster) -> None:
    """Its record is resolved once, by the process that sees that it is over."""
    names = await cluster.fill(RECORDS_LIMIT - 2)
    async with running(cluster):
        await cluster.advance()
    for name in names[:4]:
        cluster.store.remove(name)
    before = len(cluster.store.calls)

    async with running(cluster):
        await cluster.advance(GRACE_SECS + 2 * CHECK_EVERY_SECS)

    assert cluster.phases() == {"record-budget": "Resolved"}
    assert since(cluster, before) == ["set_status"]


# ---------------------------------------------------------------- a silent source


async def test_a_source_that_is_still_silent_after_a_restart_keeps_its_record(cluster: Cluster) -> None:
    """Its last report is days old, and the process reads it again a while after it has started."""
    async with running(cluster) as process:
        process.trivy.observe(a_report_of("2026-01-01T00:00:00Z"))
        await cluster.fall_silent()
    assert cluster.phases() == {"source-silent": "Open"}
    before = len(cluster.store.calls)

    async with running(cluster) as process:
        await cluster.advance(2 * CHECK_EVERY_SECS)
        process.trivy.observe(a_report_of("2026-01-01T00:00:00Z"))
        await cluster.advance(GRACE_SECS + 2 * CHECK_EVERY_SECS)

    assert cluster.phases() == {"source-silent": "Open"}
    assert since(cluster, before) == []


async def test_a_sender_that_is_still_silent_after_a_restart_keeps_its_record(cluster: Cluster) -> None:
    """Nothing can be read back of what it posted: it is silent until it posts."""
    async with running(cluster, has_trivy=False) as process:
        for _ in range(5):
            process.falco.observe_post("10.0.0.7")
            await cluster.advance(HOUR_SECS, step_secs=HOUR_SECS)
        await cluster.fall_silent()
    assert cluster.phases() == {"source-silent": "Open"}
    before = len(cluster.store.calls)

    async with running(cluster, has_trivy=False) as process:
        await cluster.advance(GRACE_SECS + 2 * CHECK_EVERY_SECS)
        still = cluster.phases(), list(since(cluster, before))
        process.falco.observe_post("10.0.0.7")
        await cluster.advance(GRACE_SECS + 2 * CHECK_EVERY_SECS)

    assert still == ({"source-silent": "Open"}, [])
    assert cluster.phases() == {"source-silent": "Resolved"}


async def test_a_source_that_reports_again_after_a_restart_is_silent_no_more(cluster: Cluster) -> None:
    """Its record is resolved once, and not before RESOLVE_GRACE is over at the latest."""
    async with running(cluster) as process:
        process.trivy.observe(a_report_of("2026-01-01T00:00:00Z"))
        await cluster.fall_silent()
    before = len(cluster.store.calls)

    async with running(cluster) as process:
        process.trivy.observe(a_report_of("2026-01-02T03:00:00Z"))
        await cluster.advance(GRACE_SECS + 2 * CHECK_EVERY_SECS)

    assert cluster.phases() == {"source-silent": "Resolved"}
    assert since(cluster, before) == ["set_status"]


# ---------------------------------------------------------------- fields that are missing


async def _lose_a_field(cluster: Cluster, process: Process) -> None:
    for number in range(60):
        process.receive("priority", "time", alerts=1, first=number)
        cluster.clock.advance(secs=1)
    for number in range(60):
        process.receive("time", alerts=1, first=100 + number)
        cluster.clock.advance(secs=1)
    await cluster.advance(2 * CHECK_EVERY_SECS)


async def test_a_field_that_is_missing_keeps_its_record_over_a_restart_until_the_grace_is_over(cluster: Cluster) -> None:
    """A new process cannot know what the tool sent before it started: only time tells that it is how the tool is now."""
    async with running(cluster) as process:
        await _lose_a_field(cluster, process)
    assert cluster.phases() == {"schema-drift": "Open"}
    before = len(cluster.store.calls)

    async with running(cluster):
        await cluster.advance(GRACE_SECS - 2 * CHECK_EVERY_SECS)
        assert cluster.phases() == {"schema-drift": "Open"}
        assert since(cluster, before) == []
        await cluster.advance(4 * CHECK_EVERY_SECS)

    assert cluster.phases() == {"schema-drift": "Resolved"}
    assert since(cluster, before) == ["set_status"]


# ---------------------------------------------------------------- reports that cannot be read


async def test_rejected_reports_keep_their_record_over_a_restart_until_all_reports_were_read(cluster: Cluster) -> None:
    """However long the API server is away: what is not known yet is no good news."""
    async with running(cluster) as process:
        process.trivy.rejected.add(ReportRef("configmaps", "ci", "scan"), Rejection("1", "no JSON"))
        await cluster.advance(2 * CHECK_EVERY_SECS)
    assert cluster.phases() == {"reports-rejected": "Open"}
    before = len(cluster.store.calls)

    async with running(cluster) as process:
        await cluster.advance(3 * GRACE_SECS)
        still = cluster.phases(), list(since(cluster, before))
        process.has_synced = True
        await cluster.advance(2 * CHECK_EVERY_SECS)

    assert still == ({"reports-rejected": "Open"}, [])
    assert cluster.phases() == {"reports-rejected": "Resolved"}
    assert since(cluster, before) == ["set_status"]
