"""Check the record budget and every source, and report what is wrong as findings of zenwatch itself.

In: the budget; the monitors of the sources.  Out: self-findings, gauges, lines in the log.
Owns: which sources are silent, which fields are missing, and which reports cannot be read.
Stops: with its task; what is still wrong is found again.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from zenwatch.contract import Group
from zenwatch.metrics import SOURCE_LAST_DATA, SOURCE_MISSING_FIELDS, SOURCE_REJECTED_REPORTS, SOURCE_SILENT, WRITES_WAITING
from zenwatch.model.finding import Severity
from zenwatch.model.refs import Origin
from zenwatch.model.status import RefusedWrites
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.processing.pull.reconciler import PullPolicy, Reconciler
from zenwatch.processing.self_findings import SCOPE, SOURCE, SelfFinding, SelfReporter
from zenwatch.sdk.redact import redacted
from zenwatch.store.budget import Level
from zenwatch.wiring.pipelines import MonitoredSource, Services

log = structlog.get_logger(component="housekeeping")

CHECK_EVERY_SECS = 10.0
# The series of so many namespaces are exported, those of the longest refused.
MOST_NAMESPACES = 100
# A refusal that ends sooner is no finding.
REFUSED_FOR = timedelta(minutes=1)
TASK = "housekeeping"
# So many reports are named where some cannot be read.
MOST_NAMED = 5


class _Unlimited:
    """contract.Capacity of self-findings: they are few, and one of them reports that others have no space."""

    free_records = 1000

    def roll_up(self, origin: Origin, findings: int) -> None:
        """Nothing of them ever is."""


def self_reporter(services: Services) -> SelfReporter:
    """The pull pipeline of zenwatch's findings about itself."""
    origin = Origin(services.settings.cluster_id, SOURCE)
    policy = PullPolicy(Severity.INFO, services.settings.resolve_grace_secs, frozenset({SCOPE}))
    reconciler = Reconciler(
        origin,
        policy,
        records=services.records,
        writer=services.writer,
        accounts=services.ledger,
        capacity=_Unlimited(),
        clock=services.clock,
    )
    services.records.call_when_changed(origin, reconciler.recheck)
    return SelfReporter(reconciler, services.supervisor, clock=services.clock)


class Housekeeping:
    group = Group.LEADER

    def __init__(self, services: Services, sources: Sequence[MonitoredSource], reporter: SelfReporter) -> None:
        self._services = services
        self._budget = services.budget
        self._reporter = reporter
        self.sources = sources
        self._silent: dict[Origin, datetime | None] = {}
        self._missing: dict[Origin, tuple[str, ...]] = {}
        self._refused: set[str] = set()
        self._never = asyncio.Event()

    async def start(self) -> None:
        self._services.supervisor.start(TASK, self._keep_checking)

    async def stop(self) -> None:
        await self._services.supervisor.stop(TASK)

    def silent_since(self, origin: Origin) -> datetime | None:
        """None: the source is not silent."""
        return self._silent.get(origin)

    def _about(self, origin: Origin) -> str:
        """How a self-finding names the source: with its cluster only where that is not the local one."""
        return origin.source if origin.cluster_id == self._services.settings.cluster_id else str(origin)

    async def _keep_checking(self) -> None:
        # Before all records are known, neither their number is known nor which sources ever reported.
        await self._services.records.wait_until_synced()
        while True:
            await self.check()
            await self._services.clock.wait(self._never, timeout_secs=CHECK_EVERY_SECS)

    async def check(self) -> None:
        self._check_budget()
        self._check_refused()
        for source in self.sources:
            self._check_silence(source, is_installed=await source.is_installed())
            self._check_fields(source)
            self._check_reports(source)

    def _check_budget(self) -> None:
        level, budget = self._budget.check(), self._budget
        if level is Level.OK:
            self._reporter.withdraw("record-budget", "")
            return
        is_full = level is Level.FULL
        self._reporter.report(
            SelfFinding(
                topic="record-budget",
                about="",
                severity=Severity.HIGH if is_full else Severity.MEDIUM,
                title="The record budget is full: findings are rolled up" if is_full else "The record budget is nearly full",
                remediation="Raise RECORD_BUDGET or RECORD_BUDGET_BYTES, raise a tool's MIN_SEVERITY, or lower EVENT_TTL.",
                details={"recordsLimit": budget.records_limit, "bytesLimit": budget.bytes_limit},
            )
        )

    def _check_refused(self) -> None:
        """The series and findings of namespaces that take records again end."""
        refused = self._services.writer.refused()[:MOST_NAMESPACES]
        WRITES_WAITING.clear()
        for each in refused:
            WRITES_WAITING.labels(each.namespace, each.cause).set(each.waiting)
        latest = format_rfc3339(self._services.clock.now() - REFUSED_FOR)
        lasting = {each.namespace: each for each in refused if each.since <= latest}
        for namespace in self._refused - lasting.keys():
            self._reporter.withdraw("writes-refused", namespace)
        for each in lasting.values():
            self._reporter.report(_refusal(each))
        self._refused = set(lasting)

    def _check_silence(self, source: MonitoredSource, *, is_installed: bool) -> None:
        origin, detector = source.origin, source.monitor.silence
        since, before = detector.silent_since(is_installed=is_installed), self._silent.get(origin)
        SOURCE_SILENT.labels(*origin).set(since is not None)
        if detector.last_data_at is not None:
            SOURCE_LAST_DATA.labels(*origin).set(detector.last_data_at.timestamp())
        self._silent[origin] = since
        if since is None:
            if is_installed and detector.last_data_at is None:
                # This process has seen nothing of the source yet: an earlier one may have reported its silence, and that may go on.
                self._reporter.keep("source-silent", self._about(origin))
            else:
                self._reporter.withdraw("source-silent", self._about(origin))
            if before is not None:
                log.info("source_speaks_again", cluster_id=origin.cluster_id, source=origin.source)
            return
        if before is None:
            reason = f"it is installed and has sent nothing since {format_rfc3339(since)}"
            log.warning("source_silent", cluster_id=origin.cluster_id, source=origin.source, reason=reason)
        self._reporter.report(_silence(self._about(origin), origin.source, since))

    def _check_fields(self, source: MonitoredSource) -> None:
        origin, missing = source.origin, tuple(source.monitor.drift.missing)
        SOURCE_MISSING_FIELDS.labels(*origin).set(len(missing))
        before, self._missing[origin] = self._missing.get(origin, ()), missing
        if not missing:
            if before:
                log.info("fields_are_back", cluster_id=origin.cluster_id, source=origin.source)
                self._reporter.withdraw("schema-drift", self._about(origin))
            return
        if missing != before:
            log.warning("fields_missing", cluster_id=origin.cluster_id, source=origin.source, reason=", ".join(missing))
        self._reporter.report(_drift(self._about(origin), missing))

    def _check_reports(self, source: MonitoredSource) -> None:
        about, rejected = self._about(source.origin), source.monitor.rejected
        SOURCE_REJECTED_REPORTS.labels(*source.origin).set(len(rejected))
        if rejected:
            self._reporter.report(_unread(about, source))
        elif source.has_synced():
            self._reporter.withdraw("reports-rejected", about)
        else:
            # Not all reports were read yet: an earlier process may have rejected some that still are as they were.
            self._reporter.keep("reports-rejected", about)


def _refusal(refused: RefusedWrites) -> SelfFinding:
    return SelfFinding(
        topic="writes-refused",
        about=refused.namespace,
        severity=Severity.HIGH,
        title=f"Namespace {refused.namespace} takes no records: {refused.cause}",
        remediation="See with zenwatch doctor what refuses them. What waits is stored by itself once that is mended.",
        details={"cause": refused.cause, "error": refused.error, "since": refused.since},
    )


def _silence(about: str, source: str, since: datetime) -> SelfFinding:
    setting = f"{source.upper().replace('-', '_')}_SILENCE_AFTER"
    return SelfFinding(
        topic="source-silent",
        about=about,
        severity=Severity.HIGH,
        title=f"{about} has said nothing since {format_rfc3339(since)}",
        remediation=f"See with zenwatch doctor whether it runs and can write or post. If it may be so silent: {setting}.",
        details={"silentSince": format_rfc3339(since)},
    )


def _unread(about: str, source: MonitoredSource) -> SelfFinding:
    rejected = source.monitor.rejected
    named = [f"{report.text}: {rejection.reason}" for report, rejection in rejected.first(MOST_NAMED)]
    count = f"{len(rejected)} report{'s' if len(rejected) > 1 else ''} of {about} cannot be read"
    return SelfFinding(
        topic="reports-rejected",
        about=about,
        severity=Severity.MEDIUM,
        title=f"{count}, wholly or in part: what they hold is not stored",
        remediation=source.remedy or "See with zenwatch doctor and zenwatch preview what is not understood; a newer zenwatch may read it.",
        details={"reports": [redacted(text) for text in named], "rejectedReports": len(rejected)},
    )


def _drift(about: str, missing: Sequence[str]) -> SelfFinding:
    return SelfFinding(
        topic="schema-drift",
        about=about,
        severity=Severity.MEDIUM,
        title=f"{about} does not send any more what it always sent: {', '.join(missing[:3])}",
        remediation="See what was changed with the tool, such as an upgrade; findings may lack what these fields held.",
        details={"missing": list(missing)},
    )
