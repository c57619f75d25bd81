"""The pull pipeline from its reconciler to the store: all parts are real but the store and the clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import background
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
class PullServices:
    store: MemoryStore
    index: StoredIndex
    ledger: Ledger
    clock: FakeClock
    writer: RecordWriter
    dedup: Dedup
    outcome_log: OutcomeLog
    budget: Budget


@dataclass(frozen=True)
class Pipeline(PullServices):
    intake: Reconciler

    def page(self) -> dict[str, int]:
        """The lines of the ledger that are not zero."""
        return {line: count for line, count in self.ledger.page("trivy").items() if count}


def a_pipeline(
    *,
    store: MemoryStore | None = None,
    writer: RecordWriter | None = None,
    min_severity: Severity = Severity.INFO,
    clock: FakeClock | None = None,
    budget_records: int = 1_000_000,
    **origin: Any,
) -> tuple[Pipeline, Writer]:
    """Return the pipeline and its writer, which has no workers yet. writer: replaces it. origin: more fields of Origin."""
    clock = clock or FakeClock(skips_waits=True)
    store = store or MemoryStore()
    store.now = clock.now
    index = StoredIndex(store)
    real = Writer(store, queue_writes=4, clock=clock)
    budget = Budget(index, records=budget_records, size_bytes=1 << 40)
    services = PullServices(store, index, Ledger(), clock, writer or real, Dedup(index), OutcomeLog(clock), budget)
    intake = Reconciler(Origin("trivy", "local", min_severity, **origin), services)
    index.call_when_gone(intake.look_again)
    return Pipeline(**vars(services), intake=intake), real


@asynccontextmanager
async def running(**parts: Any) -> AsyncIterator[Pipeline]:
    """Run a pipeline: workers write, and the index follows the store, without a supervisor."""
    pipeline, real = a_pipeline(**parts)
    async with background(pipeline.index.follow, *[real.work] * WORKERS):
        yield pipeline
