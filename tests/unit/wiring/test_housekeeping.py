"""zenwatch/wiring/housekeeping.py and processing/self_findings.py: what zenwatch reports about itself and its tools."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support.builders.findings import POD, an_event
from tests.support.builders.records import a_stored
from tests.support.pipelines.core import a_core, services_of
from tests.support.tasks import background, patience, until
from zenwatch.errors import Denied, Transient
from zenwatch.model.queue import Fill
from zenwatch.model.record import Status, spec_hash
from zenwatch.model.refs import Origin, ReportRef, Scope
from zenwatch.model.write import Envelope, Upsert, WriteResult
from zenwatch.sources.monitor.rejected import Rejection
from zenwatch.sources.monitor.source import SourceMonitor
from zenwatch.wiring.housekeeping import Housekeeping, self_reporter
from zenwatch.wiring.pipelines import MonitoredSource
from zenwatch.wiring.settings import Settings

TRIVY, FALCO = Origin("local", "trivy"), Origin("local", "falco")
HOUR_SECS = 3600.0


class House:
    """Housekeeping over a store in memory. is_installed: what the detector of trivy finds."""

    def __init__(self) -> None:
        self.core = a_core(budget_records=10)
        self.store, self.clock, self.mirror, self.budget = self.core.store, self.core.clock, self.core.mirror, self.core.budget
        self.is_installed = True
        self.trivy = SourceMonitor(TRIVY, self.clock, silence_secs=26 * HOUR_SECS)
        self.falco = SourceMonitor(FALCO, self.clock, silence_secs=26 * HOUR_SECS, needs_usual_pause=True)
        services = services_of(self.core, Settings.read({}))
        sources = [
            MonitoredSource(TRIVY, self.trivy, self._is_trivy_installed, remedy="Run trivy anew."),
            MonitoredSource(FALCO, self.falco, _is_falco_installed, lambda: Fill(3, 100)),
        ]
        self.reporter = self_reporter(services)
        self.housekeeping = Housekeeping(services, sources, self.reporter)

    async def _is_trivy_installed(self) -> bool:
        return self.is_installed

    async def check(self) -> dict[str, str]:
        """Check once; return the phases of zenwatch's own records by type."""
        await self.housekeeping.check()
        await self.reporter.start()
        for _ in range(100):
            await asyncio.sleep(0)
        await self.reporter.stop()
        return {record["spec"]["eventType"]: record["status"]["phase"] for record in self.store.objects.values()}

    def title(self) -> str:
        [record] = self.store.objects.values()
        return str(record["spec"]["title"])


async def _is_falco_installed() -> bool:
    return True


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    async with background(house.mirror.follow, house.core.writer.work):
        yield house


# ---------------------------------------------------------------- silence


async def test_a_silent_tool_is_one_record_until_it_speaks(house: House) -> None:
    """From the time when it spoke last."""
    house.trivy.observe({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    house.clock.advance(secs=26 * HOUR_SECS)
    assert await house.check() == {}
    with capture_logs() as lines:
        house.clock.advance(secs=1)
        assert await house.check() == {"source-silent": "Open"}
        house.clock.advance(secs=HOUR_SECS)
        await house.check()
        house.trivy.observe({"metadata": {"name": "r", "creationTimestamp": "2026-01-02T03:00:00Z"}})
        assert await house.check() == {"source-silent": "Resolved"}

    assert house.title() == "trivy has said nothing since 2026-01-01T00:00:00Z"
    assert [line["event"] for line in lines if line["component"] == "housekeeping"] == ["source_silent", "source_speaks_again"]
    assert house.store.operations() == ["create", "set_status"]


async def test_a_tool_that_is_not_there_owes_nothing(house: House) -> None:
    """Neither does one whose silence is good news."""
    house.is_installed = False
    house.clock.advance(secs=999 * HOUR_SECS)

    assert await house.check() == {}


# ---------------------------------------------------------------- a namespace refuses


async def test_a_namespace_that_refuses_records_for_a_minute_is_one_record_until_it_takes_them(house: House) -> None:
    """And a series of its own, with the cause."""
    event, results = an_event(resource=replace(POD, namespace="shop")), list[WriteResult]()
    house.store.refuse("shop", Denied("400: no records in here"))
    envelope = Envelope(Upsert(event, spec_hash(event), Status(), None), results.append, waits=lambda: None)
    await house.core.writer.submit(envelope)
    await until(lambda: bool(house.core.writer.refused()))
    assert await house.check() == {}
    assert REGISTRY.get_sample_value("zenwatch_writes_waiting", {"namespace": "shop", "cause": "policy"}) == 1

    house.clock.advance(secs=60)
    assert await house.check() == {"writes-refused": "Open"}
    assert house.title() == "Namespace shop takes no records: policy"

    house.store.take_again("shop")
    async with background(house.core.writer.retry):
        await until(lambda: bool(results))
    assert (await house.check())["writes-refused"] == "Resolved"
    assert REGISTRY.get_sample_value("zenwatch_writes_waiting", {"namespace": "shop", "cause": "policy"}) is None


# ---------------------------------------------------------------- drift


async def test_fields_that_are_missing_are_one_record_until_they_are_back(house: House) -> None:
    """With their names."""

    def say(*fields: str, times: int, first: int = 0) -> None:
        for number in range(times):
            house.clock.advance(secs=1)
            house.falco.observe({"rule": "a", "number": first + number, **dict.fromkeys(fields, "x")})

    say("priority", "time", times=60)
    assert await house.check() == {}
    say("time", times=60, first=100)
    assert await house.check() == {"schema-drift": "Open"}
    assert house.title() == "falco does not send any more what it always sent: priority"
    say("priority", "time", times=5, first=200)
    assert await house.check() == {"schema-drift": "Resolved"}


# ---------------------------------------------------------------- reports that cannot be read


async def test_reports_that_cannot_be_read_are_one_record_until_all_can_be_read(house: House) -> None:
    """It names them, with what is wrong with each, and how to mend it."""
    rejected = house.trivy.rejected
    assert await house.check() == {}
    for number in range(7):
        rejected.add(ReportRef("configmaps", "ci", f"scan-{number}"), Rejection("1", "results.json is SARIF"))
    assert await house.check() == {"reports-rejected": "Open"}
    [first] = [record["spec"] for record in house.store.objects.values()]
    rejected.forget_others(Scope("configmaps"), [ReportRef("configmaps", "ci", "scan-3")])
    await house.check()
    assert house.title() == "1 report of trivy cannot be read, wholly or in part: what they hold is not stored"
    rejected.drop(ReportRef("configmaps", "ci", "scan-3"))
    assert await house.check() == {"reports-rejected": "Resolved"}

    assert first["title"].startswith("7 reports of trivy cannot be read")
    assert first["remediation"] == "Run trivy anew."
    assert first["details"]["rejectedReports"] == 7
    assert first["details"]["reports"] == [f"configmaps ci/scan-{number}: results.json is SARIF" for number in range(5)]


# ---------------------------------------------------------------- budget


async def test_a_full_budget_is_a_record_that_says_so(house: House) -> None:
    """And a warning before; it is brought up to date, and resolved when enough is free."""
    for number in range(8):
        house.mirror.put(a_stored(name=f"r{number}", version=number + 1))
    assert await house.check() == {"record-budget": "Open"}
    [nearly] = [record["spec"] for record in house.store.objects.values()]
    house.budget.roll_up(TRIVY, 3)
    await house.check()
    [full] = [record["spec"] for record in house.store.objects.values()]
    house.budget.roll_up(TRIVY, 0)
    for number in range(4):
        house.mirror.drop(f"r{number}")
    assert await house.check() == {"record-budget": "Resolved"}

    assert (nearly["severity"], full["severity"]) == ("MEDIUM", "HIGH")
    assert "RECORD_BUDGET" in full["remediation"]


async def test_what_zenwatch_reports_has_a_record_where_nothing_else_fits(house: House) -> None:
    """Rolled up, it would say nothing."""
    for number in range(12):
        house.mirror.put(a_stored(name=f"r{number}", version=number + 1))

    assert await house.check() == {"record-budget": "Open"}
    assert house.budget.rolled_up == 0


async def test_self_findings_wait_for_a_store_that_is_away(house: House) -> None:
    """They are stored as soon as it is back."""
    house.clock.advance(secs=27 * HOUR_SECS)
    house.trivy.observe({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    house.store.fail_next(12, Transient("away"))
    await house.housekeeping.check()
    async with patience():
        await house.reporter.start()
        await until(lambda: bool(house.store.objects))
    await house.reporter.stop()


async def test_it_keeps_checking_by_itself(house: House) -> None:
    """Silence and budget, without being asked; and again after a stop."""
    house.trivy.observe({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    house.clock.advance(secs=27 * HOUR_SECS)
    for _ in range(3):
        await house.reporter.start()
        await house.housekeeping.start()
        async with patience():
            await until(lambda: bool(house.store.objects))
        await house.housekeeping.stop()
        await house.reporter.stop()
