"""Findings of zenwatch about itself and its sources, as records of source zenwatch: each is open as long as it is true.

In: what is wrong, by topic and subject; or that it is over.  Out: findings to an Intake of its own.
Owns: which findings are open now.
Stops: with its task; what is still wrong is reported again after the next start.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog

from zenwatch.contract import Clock, Group, Intake
from zenwatch.errors import Transient, first_line
from zenwatch.model.finding import Category, Finding, FindingType, Severity
from zenwatch.model.refs import ReportRef, Scope
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import Supervisor

log = structlog.get_logger(component="self_findings")

SOURCE = "zenwatch"
SCOPE = Scope("self-findings")
TASK = "self_findings"
SETTLE_EVERY_SECS = 10.0


@dataclass(frozen=True)
class SelfFinding:
    """topic: record-budget, source-silent, schema-drift, reports-rejected or writes-refused; becomes the eventType. about: a source, a
    namespace, or empty."""

    topic: str
    about: str
    severity: Severity
    title: str
    remediation: str
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def finding(self) -> Finding:
        return Finding(
            type=FindingType(SOURCE, "zenwatch-", self.topic, Category.SECURITY),
            key=f"{self.topic}/{self.about}",
            severity=self.severity,
            title=self.title,
            remediation=self.remediation,
            details=self.details | ({"about": self.about} if self.about else {}),
        )


class SelfReporter:
    group = Group.LEADER

    def __init__(self, intake: Intake, supervisor: Supervisor, *, clock: Clock) -> None:
        self._intake = intake
        self._supervisor = supervisor
        self._clock = clock
        self._reported: dict[ReportRef, SelfFinding | None] = {}
        self._news = asyncio.Event()
        self._never = asyncio.Event()

    async def start(self) -> None:
        # While this process did not lead, another one may have resolved what is still true here: these records are compared again.
        open_findings = {report: finding for report, finding in self._reported.items() if finding is not None}
        for report, finding in open_findings.items():
            self._intake.take(report, "", [finding.finding])
        # What an earlier process reported and this one does not is over, after the grace.
        self._intake.replace_all(SCOPE, open_findings)
        self._news.set()
        self._supervisor.start(TASK, self._keep_settling)

    async def stop(self) -> None:
        await self._supervisor.stop(TASK)
        self._intake.mark_stale(SCOPE)

    def report(self, finding: SelfFinding) -> None:
        """This is true now. With other words than before, the record is brought up to date."""
        self._set(finding.topic, finding.about, finding)

    def withdraw(self, topic: str, about: str) -> None:
        """This is not true, or not any more."""
        self._set(topic, about, None)

    def keep(self, topic: str, about: str) -> None:
        """Whether this is true is not known: what an earlier process reported stays as it is."""
        self._intake.cannot_read(_report(topic, about))

    def _set(self, topic: str, about: str, finding: SelfFinding | None) -> None:
        report = _report(topic, about)
        if report in self._reported and self._reported[report] == finding:
            return
        self._reported[report] = finding
        self._intake.take(report, "", [finding.finding] if finding else [])
        self._news.set()

    async def _keep_settling(self) -> None:
        attempt = 0
        while True:
            await self._clock.wait(self._news, timeout_secs=SETTLE_EVERY_SECS)
            self._news.clear()
            try:
                await self._intake.settle()
                attempt = 0
            except Transient as exc:
                attempt += 1
                log.debug("self_findings_not_stored", error=first_line(exc), attempt=attempt)
                await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, exc))
                self._news.set()


def _report(topic: str, about: str) -> ReportRef:
    return ReportRef(SCOPE.kind, "", f"{topic}-{about}")
