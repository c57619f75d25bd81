"""From the intake to the store, everything real but the store and the clock."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from zenwatch.contract import RecordWriter
from zenwatch.metrics import Ledger
from zenwatch.model.finding import Severity
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.processing.pull.reconciler import Origin, Reconciler
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.store.writer import Writer

WORKERS = 2


@dataclass(frozen=True)
class Rooms:
    store: MemoryStore
    index: StoredIndex
    ledger: Ledger
    clock: FakeClock
    writer: RecordWriter
    dedup: Dedup
    outcome_log: OutcomeLog
    budget: Budget


@dataclass(frozen=True)
class Pipeline(Rooms):
    intake: Reconciler

    def page(self) -> dict[str, int]:
        """The ledger's lines that are not zero."""
        return {line: count for line, count in self.ledger.page("trivy").items() if count}


@asynccontextmanager
async def background(*works: Callable[[], Coroutine[Any, Any, Any]]) -> AsyncIterator[None]:
    """Run each as a task for as long as the block lasts; what one of them raises is raised at its end."""
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure


def a_pipeline(
    *,
    store: MemoryStore | None = None,
    writer: RecordWriter | None = None,
    min_severity: Severity = Severity.INFO,
    clock: FakeClock | None = None,
    budget_records: int = 1_000_000,
    **origin: Any,
) -> tuple[Pipeline, Writer]:
    """writer: stands in for the one that is returned; that one has no workers yet. origin: more fields of Origin."""
    clock = clock or FakeClock(skips_waits=True)
    store = store or MemoryStore()
    store.now = clock.now
    index = StoredIndex(store)
    real = Writer(store, queue_writes=4, clock=clock)
    budget = Budget(index, records=budget_records, size_bytes=1 << 40)
    services = Rooms(store, index, Ledger(), clock, writer or real, Dedup(index), OutcomeLog(clock), budget)
    intake = Reconciler(Origin("trivy", "local", min_severity, **origin), services)
    index.call_when_gone(intake.look_again)
    return Pipeline(**vars(services), intake=intake), real


@asynccontextmanager
async def running(**parts: Any) -> AsyncIterator[Pipeline]:
    """Workers write and the index follows, both without a supervisor."""
    pipeline, real = a_pipeline(**parts)
    async with background(pipeline.index.follow, *[real.work] * WORKERS):
        yield pipeline


async def until(is_so: Callable[[], bool], *, patience_secs: float = 2.0) -> None:
    """Let the loop run until is_so. For state that only other tasks change, turn by turn, with no time passing in between."""
    async with asyncio.timeout(patience_secs):
        while not is_so():  # noqa: ASYNC110  state that sets no event; each turn gives the loop away
            await asyncio.sleep(0)
