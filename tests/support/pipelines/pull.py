"""The pull pipeline from its reconciler to the store: all parts are real but the store and the clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.fakes.writer import HeldWriter
from tests.support.pipelines.core import Core, a_core
from tests.support.tasks import background
from zenwatch.contract import RecordWriter
from zenwatch.model.refs import Origin
from zenwatch.processing.pull.reconciler import PullPolicy, Reconciler

WORKERS = 2
TRIVY = Origin("local", "trivy")


@dataclass(frozen=True)
class Pipeline(Core):
    origin: Origin
    intake: Reconciler

    def page(self) -> dict[str, int]:
        """The accounts of the origin that are not zero."""
        return {line: count for line, count in self.ledger.page(self.origin).items() if count}


def a_pipeline(
    *,
    origin: Origin = TRIVY,
    store: MemoryStore | None = None,
    writer: RecordWriter | None = None,
    clock: FakeClock | None = None,
    budget_records: int = 1_000_000,
    core: Core | None = None,
    **policy: Any,
) -> Pipeline:
    """writer: stands in for the real one. core: shared with another pipeline. policy: fields of PullPolicy."""
    core = core or a_core(store=store, clock=clock, budget_records=budget_records)
    if isinstance(writer, HeldWriter):
        writer.accounts = core.ledger
    intake = Reconciler(
        origin,
        PullPolicy(**policy),
        records=core.mirror,
        writer=writer or core.writer,
        accounts=core.ledger,
        capacity=core.budget,
        clock=core.clock,
    )
    core.mirror.call_when_changed(origin, intake.recheck)
    return Pipeline(**vars(core), origin=origin, intake=intake)


@asynccontextmanager
async def running(**parts: Any) -> AsyncIterator[Pipeline]:
    """Workers write and the mirror follows, both without a supervisor."""
    pipeline = a_pipeline(**parts)
    async with background(pipeline.mirror.follow, *[pipeline.writer.work] * WORKERS, pipeline.writer.retry):
        yield pipeline
