"""What goes on beside the lines: the store is kept small, and what is the matter with zenwatch or its tools is said.

Retention ──▶ writer          (what had its time, and what has to make room)
Budget, voices ──▶ Notices ──▶ Reconciler ──▶ writer      (records of source zenwatch)
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Self

import structlog

from zenwatch.contract import Clock, Index, RecordWriter
from zenwatch.metrics import SOURCE_LAST_DATA, SOURCE_MISSING_FIELDS, SOURCE_SILENT, Ledger
from zenwatch.model.finding import Severity
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.processing.pull.reconciler import Origin, Reconciler
from zenwatch.processing.self_findings import PLACE, SOURCE, SelfFinding, SelfReporter
from zenwatch.runtime.pipelines import MonitoredSource, Services
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.budget import Level
from zenwatch.store.retention import Retention, Rules

log = structlog.get_logger(component="upkeep")

LOOK_EVERY_SECS = 10.0


class _Unlimited:
    """contract.Capacity of what zenwatch says of itself: a few records, of which one tells why others have no room."""

    free_records = 1000

    def roll_up(self, source: str, findings: int) -> None:
        """Nothing of it ever is."""


@dataclass(frozen=True)
class _Rooms:
    """The trunk's, as far as the notices' reconciler is joined to them, with a budget of its own."""

    index: Index
    dedup: Dedup
    writer: RecordWriter
    ledger: Ledger
    clock: Clock
    outcome_log: OutcomeLog
    budget: _Unlimited

    @classmethod
    def of(cls, services: Services) -> Self:
        return cls(services.index, services.dedup, services.writer, services.ledger, services.clock, services.outcome_log, _Unlimited())


class Housekeeping:
    """pushed: the sources whose records leave by their age, open or not."""

    def __init__(self, services: Services, *, pushed: Sequence[str]) -> None:
        settings = services.settings
        self._services = services
        self._budget = services.budget
        self.monitored: list[MonitoredSource] = []
        self._silent: dict[str, datetime | None] = {}
        self._missing: dict[str, tuple[str, ...]] = {}
        self._never = asyncio.Event()
        rules = Rules(settings.event_ttl_secs or None, settings.gc_rate, frozenset(pushed))
        self._retention = Retention(rules, services.budget, index=services.index, writer=services.writer, clock=services.clock)
        origin = Origin(SOURCE, settings.cluster_id, Severity.INFO, grace_secs=settings.resolve_grace_secs, places=frozenset({PLACE}))
        intake = Reconciler(origin, _Rooms.of(services))
        services.index.call_when_gone(intake.look_again)
        self._self_reporter = SelfReporter(intake, clock=services.clock)

    def start(self, monitored: Sequence[MonitoredSource], supervisor: Supervisor) -> None:
        self.monitored = list(monitored)
        supervisor.start("source/zenwatch/notices", partial(self._self_reporter.keep_settling, look_every_secs=LOOK_EVERY_SECS))
        supervisor.start("source/zenwatch/retention", self._retention.keep_collecting)
        supervisor.start("source/zenwatch/look", self._keep_looking)

    async def _keep_looking(self) -> None:
        # Before all is read, neither how much is stored is known nor who ever spoke.
        await self._services.index.wait_until_synced()
        while True:
            self.look()
            await self._services.clock.wait(self._never, timeout_secs=LOOK_EVERY_SECS)

    def look(self) -> None:
        self._look_at_budget()
        for one in self.monitored:
            self._look_for_silence(one)
            self._look_for_drift(one)

    def silent_since(self, source: str) -> datetime | None:
        return self._silent.get(source)

    def _look_at_budget(self) -> None:
        level, budget = self._budget.look(), self._budget
        if level is Level.OK:
            self._self_reporter.withdraw("record-budget", "")
            return
        is_full = level is Level.FULL
        self._self_reporter.say(
            SelfFinding(
                topic="record-budget",
                about="",
                severity=Severity.HIGH if is_full else Severity.MEDIUM,
                title="The record budget is full: findings are rolled up" if is_full else "The record budget is nearly full",
                remediation="Raise RECORD_BUDGET or RECORD_BUDGET_BYTES, raise a tool's MIN_SEVERITY, or lower EVENT_TTL.",
                details={"recordsLimit": budget.records_limit, "bytesLimit": budget.bytes_limit},
            )
        )

    def _look_for_silence(self, one: MonitoredSource) -> None:
        source, silence = one.monitor.origin.source, one.monitor.silence
        since, before = silence.silent_since(is_installed=one.is_installed()), self._silent.get(source)
        SOURCE_SILENT.labels(source).set(since is not None)
        if silence.last_data_at is not None:
            SOURCE_LAST_DATA.labels(source).set(silence.last_data_at.timestamp())
        self._silent[source] = since
        if since is None:
            self._self_reporter.withdraw("source-silent", source)
            if before is not None:
                log.info("source_speaks_again", source=source)
            return
        if before is None:
            log.warning("source_silent", source=source, reason=f"it is installed and has said nothing since {format_rfc3339(since)}")
        self._self_reporter.say(
            SelfFinding(
                topic="source-silent",
                about=source,
                severity=Severity.HIGH,
                title=f"{source} has said nothing since {format_rfc3339(since)}",
                remediation=f"See with zenwatch doctor whether it runs and can write or post. If it may be so silent: {_setting(source)}.",
                details={"silentSince": format_rfc3339(since)},
            )
        )

    def _look_for_drift(self, one: MonitoredSource) -> None:
        source, missing = one.monitor.origin.source, tuple(one.monitor.drift.missing)
        SOURCE_MISSING_FIELDS.labels(source).set(len(missing))
        before, self._missing[source] = self._missing.get(source, ()), missing
        if not missing:
            if before:
                log.info("fields_are_back", source=source)
                self._self_reporter.withdraw("schema-drift", source)
            return
        if missing != before:
            log.warning("fields_missing", source=source, reason=", ".join(missing))
        self._self_reporter.say(
            SelfFinding(
                topic="schema-drift",
                about=source,
                severity=Severity.MEDIUM,
                title=f"{source} does not send any more what it always sent: {', '.join(missing[:3])}",
                remediation="See what was changed with the tool, such as an upgrade; findings may lack what these fields said.",
                details={"missing": list(missing)},
            )
        )


def _setting(source: str) -> str:
    return f"{source.upper().replace('-', '_')}_SILENCE_AFTER"
