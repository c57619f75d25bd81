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
from zenwatch.lines import Listening, Trunk
from zenwatch.metrics import SOURCE_LAST_DATA, SOURCE_MISSING_FIELDS, SOURCE_SILENT, Ledger
from zenwatch.model.event import rfc3339
from zenwatch.model.finding import Severity
from zenwatch.store.budget import Level
from zenwatch.store.retention import Retention, Rules
from zenwatch.supervise import Supervisor
from zenwatch.transform.dedup import Dedup
from zenwatch.transform.fates import Fates
from zenwatch.transform.notices import PLACE, SOURCE, Notice, Notices
from zenwatch.transform.reconcile import Origin, Reconciler

log = structlog.get_logger(room="upkeep")

LOOK_EVERY_SECS = 10.0


class _AlwaysRoom:
    """contract.HasRoom of what zenwatch says of itself: a few records, of which one tells why others have no room."""

    room = 1000

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
    fates: Fates
    budget: _AlwaysRoom

    @classmethod
    def of(cls, trunk: Trunk) -> Self:
        return cls(trunk.index, trunk.dedup, trunk.writer, trunk.ledger, trunk.clock, trunk.fates, _AlwaysRoom())


class Upkeep:
    """pushed: the sources whose records leave by their age, open or not."""

    def __init__(self, trunk: Trunk, *, pushed: Sequence[str]) -> None:
        settings = trunk.settings
        self._trunk = trunk
        self._budget = trunk.budget
        self.listening: list[Listening] = []
        self._silent: dict[str, datetime | None] = {}
        self._missing: dict[str, tuple[str, ...]] = {}
        self._never = asyncio.Event()
        rules = Rules(settings.event_ttl_secs or None, settings.gc_rate, frozenset(pushed))
        self._retention = Retention(rules, trunk.budget, index=trunk.index, writer=trunk.writer, clock=trunk.clock)
        origin = Origin(SOURCE, settings.cluster_id, Severity.INFO, grace_secs=settings.resolve_grace_secs, places=frozenset({PLACE}))
        intake = Reconciler(origin, _Rooms.of(trunk))
        trunk.index.call_when_gone(intake.look_again)
        self._notices = Notices(intake, clock=trunk.clock)

    def start(self, listening: Sequence[Listening], supervisor: Supervisor) -> None:
        self.listening = list(listening)
        supervisor.start("source/zenwatch/notices", partial(self._notices.keep_settling, look_every_secs=LOOK_EVERY_SECS))
        supervisor.start("source/zenwatch/retention", self._retention.keep_collecting)
        supervisor.start("source/zenwatch/look", self._keep_looking)

    async def _keep_looking(self) -> None:
        # Before all is read, neither how much is stored is known nor who ever spoke.
        await self._trunk.index.wait_until_synced()
        while True:
            self.look()
            await self._trunk.clock.wait(self._never, timeout_secs=LOOK_EVERY_SECS)

    def look(self) -> None:
        self._look_at_budget()
        for one in self.listening:
            self._look_for_silence(one)
            self._look_for_drift(one)

    def silent_since(self, source: str) -> datetime | None:
        return self._silent.get(source)

    def _look_at_budget(self) -> None:
        level, budget = self._budget.look(), self._budget
        if level is Level.OK:
            self._notices.withdraw("record-budget", "")
            return
        is_full = level is Level.FULL
        self._notices.say(
            Notice(
                topic="record-budget",
                about="",
                severity=Severity.HIGH if is_full else Severity.MEDIUM,
                title="The record budget is full: findings are rolled up" if is_full else "The record budget is nearly full",
                remediation="Raise RECORD_BUDGET or RECORD_BUDGET_BYTES, raise a tool's MIN_SEVERITY, or lower EVENT_TTL.",
                details={"recordsLimit": budget.records_limit, "bytesLimit": budget.bytes_limit},
            )
        )

    def _look_for_silence(self, one: Listening) -> None:
        source, habit = one.voice.source, one.voice.habit
        since, before = habit.silence(is_installed=one.is_installed()), self._silent.get(source)
        SOURCE_SILENT.labels(source).set(since is not None)
        if habit.last_data_at is not None:
            SOURCE_LAST_DATA.labels(source).set(habit.last_data_at.timestamp())
        self._silent[source] = since
        if since is None:
            self._notices.withdraw("source-silent", source)
            if before is not None:
                log.info("source_speaks_again", source=source)
            return
        if before is None:
            log.warning("source_silent", source=source, reason=f"it is installed and has said nothing since {rfc3339(since)}")
        self._notices.say(
            Notice(
                topic="source-silent",
                about=source,
                severity=Severity.HIGH,
                title=f"{source} has said nothing since {rfc3339(since)}",
                remediation=f"See with zenwatch doctor whether it runs and can write or post. If it may be so silent: {_setting(source)}.",
                details={"silentSince": rfc3339(since)},
            )
        )

    def _look_for_drift(self, one: Listening) -> None:
        source, missing = one.voice.source, tuple(one.voice.drift.missing)
        SOURCE_MISSING_FIELDS.labels(source).set(len(missing))
        before, self._missing[source] = self._missing.get(source, ()), missing
        if not missing:
            if before:
                log.info("fields_are_back", source=source)
                self._notices.withdraw("schema-drift", source)
            return
        if missing != before:
            log.warning("fields_missing", source=source, reason=", ".join(missing))
        self._notices.say(
            Notice(
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
