"""zenwatch/runtime/housekeeping.py, processing/self_findings.py and api/introspection.py: what zenwatch says of itself and of its tools."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.support.builders.records import a_stored
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import background, until
from zenwatch.api.introspection import introspection_routes
from zenwatch.config.core import Settings
from zenwatch.errors import BadInput, Transient
from zenwatch.kube.client import KubeClient
from zenwatch.metrics import Ledger
from zenwatch.model.queue import Fill
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.runtime.housekeeping import Housekeeping
from zenwatch.runtime.pipelines import MonitoredSource, Services
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sources.monitor.source import SourceMonitor
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.store.crd.store import CrdStore
from zenwatch.store.writer import Writer

HOUR_SECS = 3600.0


class House:
    """Upkeep over a store in memory; is_installed: what the detectors of its two sources say."""

    def __init__(self) -> None:
        self.store, self.clock, self.is_installed = MemoryStore(), FakeClock(skips_waits=True), True
        self.store.now = self.clock.now
        index = StoredIndex(self.store)
        self.writer = Writer(self.store, queue_writes=4, clock=self.clock)
        self.budget = Budget(index, records=10, size_bytes=1 << 40)
        client, store = cast("KubeClient", None), cast("CrdStore", self.store)
        outcome_log = OutcomeLog(self.clock)
        self.services = Services(
            Settings.read({}), client, store, index, Dedup(index), self.writer, None, Ledger(), outcome_log, self.clock, self.budget
        )
        self.housekeeping = Housekeeping(self.services, pushed=["falco"])
        self.trivy = SourceMonitor("trivy", self.clock, silence_secs=26 * HOUR_SECS)
        self.falco = SourceMonitor("falco", self.clock, silence_secs=26 * HOUR_SECS, learns_only=True)
        self.housekeeping.monitored = [
            MonitoredSource(self.trivy, lambda: self.is_installed),
            MonitoredSource(self.falco, lambda: True, lambda: Fill(3, 100)),
        ]

    async def look(self) -> dict[str, str]:
        """Look once; what the records of zenwatch say, by type."""
        self.housekeeping.look()
        await self.housekeeping._self_reporter._intake.settle()
        return {record["spec"]["eventType"]: record["status"]["phase"] for record in self.store.objects.values()}

    def title(self) -> str:
        [record] = self.store.objects.values()
        return str(record["spec"]["title"])


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    async with background(house.services.index.follow, house.writer.work):
        yield house


# ---------------------------------------------------------------- silence


async def test_a_silent_tool_is_one_record_until_it_speaks(house: House) -> None:
    """From the time when it spoke last."""
    house.trivy.observe({"metadata": {"name": "r", "creationTimestamp": "2026-01-01T00:00:00Z"}})
    house.clock.advance(secs=26 * HOUR_SECS)
    assert await house.look() == {}
    with capture_logs() as lines:
        house.clock.advance(secs=1)
        assert await house.look() == {"source-silent": "Open"}
        house.clock.advance(secs=HOUR_SECS)
        await house.look()
        house.trivy.observe({"metadata": {"name": "r", "creationTimestamp": "2026-01-02T03:00:00Z"}})
        assert await house.look() == {"source-silent": "Resolved"}

    assert house.title() == "trivy has said nothing since 2026-01-01T00:00:00Z"
    assert [line["event"] for line in lines if line["component"] == "upkeep"] == ["source_silent", "source_speaks_again"]
    assert house.store.operations() == ["create", "set_status"]


async def test_a_tool_that_is_not_there_owes_nothing(house: House) -> None:
    """Neither does one whose silence is good news."""
    house.is_installed = False
    house.clock.advance(secs=999 * HOUR_SECS)

    assert await house.look() == {}


async def test_a_tool_that_is_silent_for_good_is_said_again_after_a_restart(house: House) -> None:
    """By the process that knows it: nothing is written anew."""
    house.clock.advance(secs=27 * HOUR_SECS)
    await house.look()
    again = House()
    again.store, again.clock = house.store, house.clock
    assert await house.look() == {"source-silent": "Open"}
    assert house.store.operations() == ["create"]


# ---------------------------------------------------------------- drift


async def test_fields_that_are_missing_are_one_record_until_they_are_back(house: House) -> None:
    """With their names."""

    def say(*fields: str, times: int, first: int = 0) -> None:
        for number in range(times):
            house.clock.advance(secs=1)
            house.falco.observe({"rule": "a", "number": first + number, **dict.fromkeys(fields, "x")})

    say("priority", "time", times=60)
    assert await house.look() == {}
    say("time", times=60, first=100)
    assert await house.look() == {"schema-drift": "Open"}
    assert house.title() == "falco does not send any more what it always sent: priority"
    say("priority", "time", times=5, first=200)
    assert await house.look() == {"schema-drift": "Resolved"}


# ---------------------------------------------------------------- budget


async def test_a_full_budget_is_a_record_that_says_so(house: House) -> None:
    """And a warning before; it is brought up to date, and resolved when there is room."""
    for number in range(8):
        house.services.index.put(a_stored(name=f"r{number}", version=number + 1))
    assert await house.look() == {"record-budget": "Open"}
    [nearly] = [record["spec"] for record in house.store.objects.values()]
    house.budget.roll_up("trivy", 3)
    await house.look()
    [full] = [record["spec"] for record in house.store.objects.values()]
    house.budget.roll_up("trivy", 0)
    for number in range(4):
        house.services.index.drop(f"r{number}")
    assert await house.look() == {"record-budget": "Resolved"}

    assert (nearly["severity"], full["severity"]) == ("MEDIUM", "HIGH")
    assert "RECORD_BUDGET" in full["remediation"]


async def test_what_zenwatch_says_has_a_record_where_nothing_else_has_room(house: House) -> None:
    """Rolled up, it would say nothing."""
    for number in range(12):
        house.services.index.put(a_stored(name=f"r{number}", version=number + 1))

    assert await house.look() == {"record-budget": "Open"}
    assert house.budget.rolled_up == 0


async def test_notices_wait_for_a_store_that_is_away(house: House) -> None:
    """They are said as soon as it is back."""
    house.clock.advance(secs=27 * HOUR_SECS)
    house.store.fail_next(12, Transient("away"))
    house.housekeeping.look()
    async with background(lambda: house.housekeeping._self_reporter.keep_settling(look_every_secs=10.0)):
        await until(lambda: bool(house.store.objects))


@asynccontextmanager
async def supervised(house: House) -> AsyncIterator[None]:
    supervisor = Supervisor()
    house.housekeeping.start(house.housekeeping.monitored, supervisor)
    try:
        yield
    finally:
        await supervisor.stop()


async def test_it_keeps_looking_by_itself(house: House) -> None:
    """Silence, budget and retention, without being asked."""
    house.clock.advance(secs=27 * HOUR_SECS)
    async with supervised(house), asyncio.timeout(5):
        await until(lambda: bool(house.store.objects))


# ---------------------------------------------------------------- answers


async def test_the_status_says_of_each_source_what_a_doctor_asks(house: House) -> None:
    """Also what is not known yet."""
    house.services.index.put(a_stored(source="trivy"))
    house.falco.observe_post("10.0.0.7")
    house.clock.advance(secs=27 * HOUR_SECS)
    house.housekeeping.look()

    status: Any = introspection_routes(house.services, house.housekeeping)["/status"]({})

    assert status["sources"]["falco"] == {
        "last_data_at": "2026-01-01T00:00:00Z",
        "last_post_at": "2026-01-01T00:00:00Z",
        "last_sender": "10.0.0.7",
        "open": 0,
        "silent_since": None,
        "missing_fields": [],
        "buffer": {"used": 3, "capacity": 100, "unit": "events"},
    }
    assert status["sources"]["trivy"]["silent_since"] == "2026-01-01T00:00:00Z"
    assert (status["sources"]["trivy"]["open"], status["sources"]["trivy"]["last_data_at"]) == (1, None)
    assert status["budget"]["records_limit"] == 10
    assert status["writes"]["failing"] is False


@pytest.mark.parametrize("query", [{"by": "colour"}, {"limit": "0"}, {"limit": "1001"}, {"limit": "many"}])
async def test_a_question_that_makes_no_sense_is_told_what_does(house: House, query: dict[str, str]) -> None:
    """With the names and ranges that do."""
    with pytest.raises(BadInput, match="expected"):
        introspection_routes(house.services, house.housekeeping)["/top"](query)


async def test_top_tells_how_many_more_there_are(house: House) -> None:
    """What is cut off is counted."""
    for number in range(3):
        house.services.index.put(a_stored(name=f"r{number}", cve=f"CVE-{number}", version=number + 1))

    told: Any = introspection_routes(house.services, house.housekeeping)["/top"]({"limit": "2"})

    assert (told["by"], len(told["groups"]), told["all"]) == ("cve", 2, 3)
