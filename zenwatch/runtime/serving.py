"""What the server serves: webhooks, probes, metrics, and answers to `zenwatch explain`, `top` and `doctor`."""

import asyncio
from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from zenwatch.api.explain import explain
from zenwatch.api.status import ProcessReport, SourceReport, status
from zenwatch.api.top import top
from zenwatch.errors import ZenwatchError, first_line
from zenwatch.model.record import GROUP, PLURAL, VERSION
from zenwatch.model.refs import Origin
from zenwatch.runtime.housekeeping import Housekeeping
from zenwatch.runtime.pipelines import MonitoredSource, PushPipeline, Services
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.web.liveness import Heartbeat
from zenwatch.web.readiness import Readiness
from zenwatch.web.routes import Route, route_table
from zenwatch.web.server_config import ServerConfig

API_TIMEOUT_SECS = 3.0


def routes_of(
    services: Services, config: ServerConfig, pushes: Sequence[PushPipeline], housekeeping: Housekeeping, heartbeat: Heartbeat
) -> list[Route]:
    check_store = partial(check_crd_store, partial(services.client.served, GROUP, VERSION))
    readiness = Readiness(clock=services.clock, check_store=check_store, buffers={push.name: push.fill for push in pushes})
    cluster_id, records = services.settings.cluster_id, IndexedRecords(services.index, services.settings.cluster_id)
    return route_table(
        hooks=[push.hook for push in pushes],
        body_timeout_secs=config.body_timeout_secs,
        liveness=heartbeat.check,
        readiness=readiness.check,
        explain=partial(explain, services.outcome_log.find),
        top=partial(top, records),
        status=partial(status, records, partial(process_report, services, housekeeping, cluster_id), services.clock.now()),
    )


async def check_crd_store(served_kinds: Callable[[], Awaitable[Collection[str]]]) -> tuple[bool, list[str]]:
    """Whether the store can take records, and a line for each part of it."""
    try:
        async with asyncio.timeout(API_TIMEOUT_SECS):
            served = await served_kinds()
    except TimeoutError:
        return False, [f"apiserver fails: no answer within {API_TIMEOUT_SECS:g} s", "crds unknown"]
    except ZenwatchError as exc:
        return False, [f"apiserver fails: {first_line(exc)}", "crds unknown"]
    if PLURAL not in served:
        return False, ["apiserver ok", f"crds fail: {PLURAL} is not served; apply them with `zenwatch crds | kubectl apply -f -`"]
    return True, ["apiserver ok", "crds ok"]


class IndexedRecords:
    """api.records.Records over the index."""

    def __init__(self, index: StoredIndex, cluster_id: str) -> None:
        self._index = index
        self._cluster_id = cluster_id

    async def open_counts(self) -> Mapping[Origin, int]:
        return Tally(Origin(self._cluster_id, stored.source) for stored in self._index.all() if stored.is_open)

    async def top(self, dimension: str, limit: int) -> tuple[Sequence[Mapping[str, Any]], int]:
        return self._index.groups.top(dimension, limit), self._index.groups.size(dimension)

    @property
    def total_records(self) -> int:
        return len(self._index)

    @property
    def total_bytes(self) -> int:
        return self._index.size_bytes


def process_report(services: Services, housekeeping: Housekeeping, cluster_id: str) -> ProcessReport:
    budget = services.budget
    sources = [_source_report(source, housekeeping, cluster_id) for source in housekeeping.monitored]
    return ProcessReport(sources, budget.records_limit, budget.bytes_limit, budget.rolled_up, services.writer.is_failing)


def _source_report(source: MonitoredSource, housekeeping: Housekeeping, cluster_id: str) -> SourceReport:
    monitor = source.monitor
    return SourceReport(
        Origin(cluster_id, monitor.source),
        last_data_at=monitor.silence.last_data_at,
        last_post_at=monitor.last_post_at,
        last_sender=monitor.last_sender,
        silent_since=housekeeping.silent_since(monitor.source),
        missing_fields=monitor.drift.missing,
        fill=source.fill() if source.fill else None,
    )
