"""What zenwatch has to say of itself, as records of source zenwatch: each is open as long as it is so.

In: what is the matter, by topic and what it is about; or that it is over.  Out: findings to an Intake of its own.
Owns: which notices are said now.
Stops: with its task; what is still the matter is said again after a restart.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import structlog

from zenwatch.contract import Clock, Intake
from zenwatch.errors import Transient, first_line
from zenwatch.model.finding import Category, Finding, FindingType, Severity
from zenwatch.runtime.backoff import backoff_secs

log = structlog.get_logger(component="notices")

SOURCE, PLACE = "zenwatch", "notices"


@dataclass(frozen=True)
class SelfFinding:
    """topic: record-budget, source-silent or schema-drift; becomes the eventType. about: which source, or empty."""

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
    def __init__(self, intake: Intake, *, clock: Clock) -> None:
        self._intake = intake
        self._clock = clock
        self._said: dict[str, SelfFinding | None] = {}
        self._news = asyncio.Event()
        # What an earlier process said and this one does not is over, after the grace.
        intake.replace_all(PLACE, ())
        self._news.set()

    def say(self, notice: SelfFinding) -> None:
        """It is so. Said again with other words, the record is brought up to date."""
        self._put(notice.topic, notice.about, notice)

    def withdraw(self, topic: str, about: str) -> None:
        """It is not so, or not any more."""
        self._put(topic, about, None)

    def _put(self, topic: str, about: str, notice: SelfFinding | None) -> None:
        report = f"{PLACE}//{topic}-{about}"
        if report in self._said and self._said[report] == notice:
            return
        self._said[report] = notice
        self._intake.take(report, "", [notice.finding] if notice else [])
        self._news.set()

    async def keep_settling(self, *, look_every_secs: float) -> None:
        attempt = 0
        while True:
            await self._clock.wait(self._news, timeout_secs=look_every_secs)
            self._news.clear()
            try:
                await self._intake.settle()
                attempt = 0
            except Transient as exc:
                attempt += 1
                log.debug("notices_not_stored", error=first_line(exc), attempt=attempt)
                await self._clock.wait(asyncio.Event(), timeout_secs=backoff_secs(attempt, exc))
                self._news.set()
