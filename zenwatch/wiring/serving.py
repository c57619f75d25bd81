"""What the server serves: webhooks, probes, metrics, and answers to `zenwatch explain`, `top` and `doctor`."""

from collections.abc import Callable, Sequence
from functools import partial

from zenwatch.api.explain import explain
from zenwatch.api.status import ProcessReport, SourceReport, status
from zenwatch.api.top import top
from zenwatch.contract import Component, Store
from zenwatch.model.status import RejectedReport
from zenwatch.model.write import Outcome
from zenwatch.runtime.components import Task
from zenwatch.web.liveness import Heartbeat
from zenwatch.web.readiness import Readiness
from zenwatch.web.routes import route_table
from zenwatch.web.server import Server
from zenwatch.web.server_config import ServerConfig
from zenwatch.wiring.housekeeping import MOST_NAMED, Housekeeping
from zenwatch.wiring.pipelines import MonitoredSource, PushPipeline, Services


def server_components(
    services: Services,
    config: ServerConfig,
    pushes: Sequence[PushPipeline],
    housekeeping: Housekeeping,
    store: Store,
    *,
    waits_for: Callable[[], str],
) -> list[Component]:
    """In the order in which they start."""
    heartbeat = Heartbeat(services.clock, gone_tasks=services.supervisor.gone)
    buffers = {push.origin.source: push.fill for push in pushes}
    refused = services.writer.refused
    readiness = Readiness(clock=services.clock, check_store=store.check, buffers=buffers, waits_for=waits_for, refused=refused)
    components: list[Component] = [Task("web/beat", heartbeat.beat, services.supervisor)]
    if config.certificate:
        components.append(Task("web/certificate", config.certificate.watch, services.supervisor))
    routes = route_table(
        hooks=[push.webhook for push in pushes],
        body_timeout_secs=config.body_timeout_secs,
        liveness=heartbeat.check,
        readiness=readiness.check,
        explain=partial(explain, services.ledger.outcome_log.find),
        top=partial(top, services.records),
        status=partial(status, services.records, partial(_process_report, services, housekeeping), services.clock.now()),
    )
    return [*components, Server(routes, config, services.supervisor)]


def _process_report(services: Services, housekeeping: Housekeeping) -> ProcessReport:
    budget = services.budget
    sources = [_source_report(source, services, housekeeping) for source in housekeeping.sources]
    writer = services.writer
    return ProcessReport(sources, budget.records_limit, budget.bytes_limit, budget.rolled_up, writer.is_failing, writer.refused())


def _source_report(source: MonitoredSource, services: Services, housekeeping: Housekeeping) -> SourceReport:
    monitor = source.monitor
    examples = monitor.rejected.first(MOST_NAMED)
    return SourceReport(
        source.origin,
        last_data_at=monitor.silence.last_data_at,
        last_post_at=monitor.last_post_at,
        last_sender=monitor.last_sender,
        silent_since=housekeeping.silent_since(source.origin),
        missing_fields=monitor.drift.missing,
        fill=source.fill() if source.fill else None,
        rejected=services.ledger.page(source.origin)[Outcome.REJECTED.value],
        rejected_reports=len(monitor.rejected),
        rejected_examples=[RejectedReport(report.text, rejection.reason, rejection.entries) for report, rejection in examples],
    )
