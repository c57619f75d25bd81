"""zenwatch/store/retention.py and budget.py: which records are deleted, and when."""

from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.builders.findings import an_event
from tests.support.fakes.clock import START
from tests.support.pipelines.core import a_core
from tests.support.tasks import background
from zenwatch.errors import Transient
from zenwatch.model.event import Event
from zenwatch.model.record import Expiry, Phase, Status, Stored, spec_hash
from zenwatch.model.refs import Origin
from zenwatch.store.budget import Budget, Level
from zenwatch.store.retention import Retention

HOUR_SECS = 3600.0
TRIVY, FALCO = Origin("local", "trivy"), Origin("local", "falco")


class Shelf:
    """Retention over a store in memory."""

    def __init__(self, *, ttl_secs: float | None = 10 * HOUR_SECS, records: int = 1000, rate: float = 20.0) -> None:
        self.core = a_core(budget_records=records)
        self.store, self.clock, self.mirror, self.budget = self.core.store, self.core.clock, self.core.mirror, self.core.budget
        expiry = Expiry(ttl_secs, frozenset({FALCO}))
        self.retention = Retention(
            expiry, self.budget, self.mirror, self.core.writer, self.core.supervisor, rate_per_sec=rate, clock=self.clock
        )

    async def put(self, name: str, *, source: str = "trivy", phase: str = Phase.OPEN, age_hours: float = 0.0, ttl: str = "") -> Stored:
        event: Event = an_event(name=name, source=source)
        stored, _ = await self.store.create(event, spec_hash=spec_hash(event))
        if ttl:
            self.store.objects[name]["metadata"]["annotations"]["zen.kube-zen.io/ttl"] = ttl
            stored = self.store.stored(name)
        seen_at = self.clock.now() - timedelta(hours=age_hours)
        stored = replace(stored, first_seen=1)
        stored = await self.store.set_status(stored, Status(phase, seen_at=seen_at), now=seen_at)
        self.mirror.put(stored)
        return stored

    async def collect(self) -> list[str]:
        """Collect once. Return the names of the records that are left."""
        async with background(self.core.writer.work):
            await self.retention.collect()
        return sorted(self.store.objects)


async def test_resolved_and_pushed_records_leave_after_their_time_and_open_findings_stay() -> None:
    """An open finding is still there, however old it is."""
    shelf = Shelf()
    for phase in Phase:
        await shelf.put(f"trivy-{phase.lower()}", phase=phase, age_hours=10)
        await shelf.put(f"falco-{phase.lower()}", source="falco", phase=phase, age_hours=10)
        await shelf.put(f"young-{phase.lower()}", source="falco", phase=phase, age_hours=9.9)

    assert await shelf.collect() == ["trivy-open", "trivy-suppressed", "young-open", "young-resolved", "young-suppressed"]
    assert shelf.mirror.total_records == 5


@pytest.mark.parametrize(("ttl", "age_hours", "stays"), [("1h", 2, False), ("100h", 99, True), ("1h", 0.5, True), ("soon", 9, True)])
async def test_a_record_may_say_how_long_it_is_kept(ttl: str, age_hours: float, *, stays: bool) -> None:
    """Shorter or longer; an annotation that is no duration is ignored."""
    shelf = Shelf()
    await shelf.put("it", phase=Phase.RESOLVED, age_hours=age_hours, ttl=ttl)

    assert bool(await shelf.collect()) is stays


async def test_without_a_ttl_only_records_that_say_so_leave() -> None:
    """EVENT_TTL=0s."""
    shelf = Shelf(ttl_secs=None)
    await shelf.put("for ever", phase=Phase.RESOLVED, age_hours=9999)
    await shelf.put("not long", phase=Phase.RESOLVED, age_hours=2, ttl="1h")

    assert await shelf.collect() == ["for ever"]


async def test_deletions_are_paced() -> None:
    """At most 20 per second by default, because etcd has other work."""
    shelf = Shelf(rate=20.0)
    for number in range(40):
        await shelf.put(f"r{number:02}", phase=Phase.RESOLVED, age_hours=11)
    before = shelf.clock.monotonic_secs()

    assert await shelf.collect() == []
    assert shelf.clock.monotonic_secs() - before == pytest.approx(2.0)


async def test_a_record_that_changed_meanwhile_stays() -> None:
    """It was seen again: the deletion was decided for an older version, and is not counted as made."""
    shelf = Shelf()
    stored = await shelf.put("it", source="falco", age_hours=11)
    await shelf.put("other", source="falco", age_hours=11)
    await shelf.store.set_status(stored, Status(count=2), now=START)

    with capture_logs() as lines:
        assert await shelf.collect() == ["it"]
    assert [line["count"] for line in lines if line["event"] == "records_deleted"] == [1]


async def test_a_deletion_without_an_answer_is_made_again() -> None:
    """That the record is gone already is a success."""
    shelf = Shelf()
    await shelf.put("it", phase=Phase.RESOLVED, age_hours=11)
    shelf.store.fail_next(2, Transient("away"), of="delete")

    assert await shelf.collect() == []
    assert shelf.mirror.total_records == 0


# ---------------------------------------------------------------- the budget


async def test_resolved_records_are_deleted_for_new_ones_the_oldest_first() -> None:
    """As many as are needed, and one part in a hundred as headroom; never open ones."""
    shelf = Shelf(records=10)
    for number in range(6):
        await shelf.put(f"open-{number}")
    for number in range(4):
        await shelf.put(f"resolved-{number}", phase=Phase.RESOLVED, age_hours=4 - number)
    shelf.budget.roll_up(TRIVY, 2)

    assert await shelf.collect() == [*(f"open-{number}" for number in range(6)), "resolved-2", "resolved-3"]
    shelf.budget.roll_up(TRIVY, 0)
    assert len(await shelf.collect()) == 8


async def test_open_records_are_never_deleted_for_new_ones() -> None:
    """However many findings have no record of their own."""
    shelf = Shelf(records=10)
    for number in range(10):
        await shelf.put(f"open-{number}", age_hours=99)
    shelf.budget.roll_up(TRIVY, 1000)

    assert len(await shelf.collect()) == 10


@pytest.mark.parametrize(
    ("stored", "rolled_up", "level", "free"),
    [
        (0, 0, Level.OK, 10),
        (7, 0, Level.OK, 3),
        (8, 0, Level.WARNING, 2),
        (10, 0, Level.FULL, 0),
        (12, 0, Level.FULL, 0),
        (5, 1, Level.FULL, 5),
    ],
)
async def test_the_budget_says_how_full_it_is(stored: int, rolled_up: int, level: Level, free: int) -> None:
    """Past 80 % is a warning; a budget that has rolled findings up is full."""
    shelf = Shelf(records=10)
    for number in range(stored):
        await shelf.put(f"r{number}")
    shelf.budget.roll_up(TRIVY, rolled_up)

    assert (shelf.budget.check(), shelf.budget.free_records) == (level, free)


async def test_a_warning_ends_when_it_is_clearly_better() -> None:
    """It does not change with each record that is created and deleted."""
    shelf = Shelf(records=100)
    stored = [await shelf.put(f"r{number}") for number in range(80)]
    levels = [shelf.budget.check()]
    for record in stored[:6]:
        shelf.mirror.drop(record.name)
        levels.append(shelf.budget.check())

    assert levels == [Level.WARNING] * 6 + [Level.OK]


async def test_bytes_are_a_limit_too() -> None:
    """Few large records fill etcd as well as many small ones."""
    shelf = Shelf()
    await shelf.put("it")
    each_bytes = shelf.mirror.total_bytes
    budget = Budget(shelf.mirror, records=1000, size_bytes=10_000)

    assert 300 < each_bytes < 3000
    assert budget.free_records == (10_000 - each_bytes) // 1500
    assert budget.used_share == pytest.approx(each_bytes / 10_000)
