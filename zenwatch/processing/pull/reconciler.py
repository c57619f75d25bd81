"""See to it that the store says what the reports of one source say: the Intake of a pull source.

In: findings, report by report.  Out: envelopes to the writer: records to be stored, and those to be resolved that no report holds any more.
Owns: what the reports contain now (ReportCache), those that are gone and may come back (Tombstones), and the names whose records may not
agree with them.
Stops: with the round that calls settle(); what is left unsettled is found again by the first list after a restart.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from zenwatch.errors import Transient
from zenwatch.metrics import REPORTS_CACHED
from zenwatch.model.event import Event
from zenwatch.model.finding import Finding, Resource, Severity
from zenwatch.model.record import Phase, Reason, Status, Stored
from zenwatch.model.write import Envelope, Outcome, SetStatus, Upsert, WriteResult
from zenwatch.processing.event.normalise import name_of, normalise, require_source
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.processing.pull.lifecycle import decide
from zenwatch.processing.pull.report_cache import ReportCache
from zenwatch.processing.pull.tombstones import Tombstones
from zenwatch.processing.rollup import ALWAYS_SCORE, Rollups, is_rollup, rolled_up
from zenwatch.processing.services import Rooms

# Merging as many takes some 10 ms: let others have the loop in between.
NAMES_AT_A_TIME = 100


_WHY = {
    Outcome.STORED: "Its record was made, or brought up to date.",
    Outcome.REPEATED: "Its record was there already.",
    Outcome.DEAD_LETTERED: "The store refuses it for good: `zenwatch deadletters list` or the log says why.",
}


@dataclass(frozen=True)
class Origin:
    """What is the same for all findings of one source.

    min_severity: findings below it are filtered. grace_secs: a report that is gone is taken for gone after that time.
    places: all that are read. is_confined: there may be reports elsewhere, which are not.
    """

    source: str
    cluster_id: str
    min_severity: Severity
    grace_secs: float = 600.0
    places: frozenset[str] = frozenset()
    is_confined: bool = False


class ReconcilerRooms(Rooms, Protocol):
    @property
    def dedup(self) -> Dedup: ...


class _Batch:
    """The receipts that one settle() waits for."""

    def __init__(self) -> None:
        self.open = 0
        self.failed = 0
        self._empty = asyncio.Event()

    def close_one(self, *, failed: bool) -> None:
        self.open -= 1
        self.failed += failed
        if not self.open:
            self._empty.set()

    async def wait(self) -> None:
        if self.open:
            self._empty.clear()
            await self._empty.wait()


class Reconciler:
    """resolved, reopened: how many records so far."""

    def __init__(self, origin: Origin, services: ReconcilerRooms) -> None:
        self._origin = origin
        self._services = services
        self._index = services.index
        self._cache = ReportCache()
        self._rollups = Rollups()
        self._tombstones = Tombstones(services.clock, grace_secs=origin.grace_secs)
        self._in_sight: set[str] = set()
        self._unreadable: set[str] = set()
        # A place came in sight: records of it may be stored that nothing says any more.
        self._has_listed = False
        # Name → findings that wait for it in the ledger; 0 where only what is stored has to be looked at again.
        self._unsettled: dict[str, int] = {}
        self.resolved = 0
        self.reopened = 0

    # ------------------------------------------------------------ contract.Intake

    def version_of(self, report: str) -> str | None:
        return self._cache.version_of(report)

    def take(self, report: str, version: str, findings: Sequence[Finding], *, subject: Resource | None = None) -> None:
        source, seen_at, cluster_id = self._origin.source, self._services.clock.now(), self._origin.cluster_id
        require_source(findings, source)
        kept = [finding for finding in findings if finding.severity.is_at_least(self._origin.min_severity)]
        below = [finding for finding in findings if not finding.severity.is_at_least(self._origin.min_severity)]
        events = [normalise(finding, cluster_id=cluster_id, seen_at=seen_at) for finding in kept]
        left_out = {name_of(finding, cluster_id=cluster_id) for finding in below}
        subjects = {subject} if subject is not None else {finding.resource for finding in findings}
        # Whatever can fail comes before the first count: a report is taken whole or not at all.
        self._touch(self._cache.replace(report, version, events, left_out=left_out, subjects=subjects))
        self._touch(self._tombstones.drop(report))
        self._unreadable.discard(report)
        self._services.ledger.receive(source, len(findings))
        self._services.ledger.settle(source, Outcome.FILTERED, len(below))
        for finding in below:
            why = f"Its severity {finding.severity} is below {self._origin.min_severity}, the least that is stored of {source}."
            self._services.outcome_log.tell(source, finding.key, Outcome.FILTERED, why)
        for event in events:
            self._unsettled[event.name] += 1
        REPORTS_CACHED.labels(source).set(len(self._cache))

    def cannot_read(self, report: str) -> None:
        self._unreadable.add(report)

    def forget(self, report: str) -> None:
        names = self._cache.forget(report)
        self._tombstones.add(report, names)
        self._unreadable.discard(report)
        self._touch(names)
        REPORTS_CACHED.labels(self._origin.source).set(len(self._cache))

    def replace_all(self, place: str, reports: Collection[str]) -> None:
        unreadable = [report for report in self._unreadable if report.startswith(f"{place}/")]
        for report in {*self._cache.reports_of(place), *unreadable}.difference(reports):
            self.forget(report)
        self._has_listed = self._has_listed or place not in self._in_sight
        self._in_sight.add(place)

    def mark_stale(self, place: str) -> None:
        self._in_sight.discard(place)

    def mark_fresh(self, place: str) -> None:
        self._in_sight.add(place)

    async def settle(self) -> None:
        await self._index.wait_until_synced()
        if self._has_listed:
            self._has_listed = False
            self._find_orphans()
        self._touch(self._tombstones.expire(self._is_absent))
        batch = _Batch()
        await self._resolve_gone(batch)
        without_room = await self._choose()
        for place, (name, event, holders) in enumerate(self._cache.merged(list(self._unsettled))):
            if batch.failed:
                # Each write that fails was retried by the writer: the others would fare no better now.
                break
            if place % NAMES_AT_A_TIME == NAMES_AT_A_TIME - 1:
                await asyncio.sleep(0)
            stored = self._index.get(name)
            if stored is None and name in without_room:
                self._roll_up(event)
                continue
            self._rollups.drop(name)
            write = decide(event, count=len(holders), stored=stored, report=holders[0])
            if write is None:
                self._close(self._unsettled.pop(name, 0), Outcome.REPEATED)
            else:
                await self._submit(write, batch)
        await self._write_rollups(batch)
        await batch.wait()
        if batch.failed:
            raise Transient(f"{batch.failed} records could not be written; {len(self._unsettled)} wait for the next round")

    # ------------------------------------------------------------ what no report holds any more

    def _find_orphans(self) -> None:
        """What is stored as open, and was not said since we started: its report is a ghost, or says it no more."""
        orphans: dict[str, list[str]] = {}
        for stored in self._index.of_source(self._origin.source):
            name, report = stored.name, stored.report
            if is_rollup(name):
                if self._in_sight >= self._origin.places:
                    self._rollups.changed.add(name)
                continue
            is_known = name in self._cache or name in self._unsettled or self._tombstones.hold(name)
            if stored.is_resolved or is_known or not self._is_in_sight(report):
                continue
            if self._cache.version_of(report) is not None:
                self._touch([name])
            else:
                orphans.setdefault(report, []).append(name)
        for report, names in orphans.items():
            self._tombstones.add(report, names)

    def _is_in_sight(self, report: str) -> bool:
        """Whether we are told what becomes of it. Records of earlier versions do not tell their report: it may be any."""
        if not report:
            return not self._origin.is_confined and self._in_sight >= self._origin.places
        kind, namespace, _ = report.split("/", 2)
        return kind in self._in_sight or f"{kind}/{namespace}" in self._in_sight

    def _is_absent(self, report: str) -> bool:
        """Whether it may be concluded from its silence that it is gone."""
        return self._is_in_sight(report) and report not in self._unreadable

    async def _resolve_gone(self, batch: _Batch) -> None:
        gone = [name for name in self._unsettled if name not in self._cache]
        below = self._cache.filtered_among(gone)
        for name in gone:
            if name in self._cache or batch.failed:
                continue
            stored = self._index.get(name)
            self._rollups.drop(name)
            if stored is None or stored.is_resolved or self._tombstones.hold(name):
                # What was taken back before it was written is not written; of a ghost nothing is known yet.
                self._close(self._unsettled.pop(name, 0), Outcome.FILTERED)
                continue
            reason = Reason.BELOW_THRESHOLD if name in below else self._reason_of(stored)
            await self._submit(SetStatus(stored, Status(Phase.RESOLVED, stored.count, stored.reopened, reason)), batch)

    def _reason_of(self, stored: Stored) -> Reason:
        return Reason.FIXED if self._cache.speaks_of(stored.report, stored.resource) else Reason.REPORT_GONE

    # ------------------------------------------------------------ what has no room

    async def _choose(self) -> Collection[str]:
        """Names that are to be rolled up: of all that would be new, those with the lowest scores."""
        room = self._services.budget.free_records
        self._touch(self._rollups.best(room))
        new = [name for name in self._unsettled if name in self._cache and self._index.get(name) is None]
        if len(new) <= room:
            return ()
        ranked: list[tuple[int, str, str]] = []
        for place, (name, event, _) in enumerate(self._cache.merged(new)):
            ranked.append((-event.score, name, rolled_up(event).name))
            if place % NAMES_AT_A_TIME == NAMES_AT_A_TIME - 1:
                await asyncio.sleep(0)
        ranked.sort()
        own, needed = room, 0
        while True:
            # The records that stand for the others need room too.
            before, needed = needed, len({rollup for _, _, rollup in ranked[own:] if self._index.get(rollup) is None})
            if needed == before or own + needed <= room:
                break
            own = max(room - needed, 0)
        return {name for score, name, _ in ranked[own:] if -score < ALWAYS_SCORE}

    def _roll_up(self, event: Event) -> None:
        name = self._rollups.add(event)
        self._close(self._unsettled.pop(event.name, 0), Outcome.REPEATED)
        self._services.outcome_log.tell(
            self._origin.source, event.key, Outcome.REPEATED, "There is no room for a record of its own.", name=name
        )

    async def _write_rollups(self, batch: _Batch) -> None:
        self._services.budget.roll_up(self._origin.source, len(self._rollups))
        for name in list(self._rollups.changed):
            event, stored = self._rollups.event(name), self._index.get(name)
            order: Upsert | SetStatus | None = None
            if event is not None:
                order = decide(event, count=self._rollups.total(name), stored=stored)
            elif stored is not None and not stored.is_resolved:
                order = SetStatus(stored, Status(Phase.RESOLVED, stored.count, stored.reopened, Reason.ROLLUP_ENDED))
            if batch.failed:
                break
            if order is None:
                self._rollups.changed.discard(name)
            elif self._services.dedup.claim(name):
                self._rollups.changed.discard(name)
                await self._hand_over(order, 0, batch)

    # ------------------------------------------------------------ writes and receipts

    async def _submit(self, order: Upsert | SetStatus, batch: _Batch) -> None:
        name = order.name
        if not self._services.dedup.claim(name):
            return
        await self._hand_over(order, self._unsettled.pop(name, 0), batch)

    async def _hand_over(self, order: Upsert | SetStatus, findings: int, batch: _Batch) -> None:
        batch.open += 1
        is_handed_over = False
        try:
            await self._services.writer.submit(Envelope(order, partial(self._receive, batch, order, findings)))
            is_handed_over = True
        finally:
            if not is_handed_over:
                # The round's time is up, or the process stops: the name must not stay claimed.
                self._receive(batch, order, findings, WriteResult(outcome=None))

    def look_again(self, name: str) -> None:
        """The record disappeared from the store. What a report still says is written again."""
        if name in self._cache:
            self._touch({name})
        if self._rollups.event(name):
            self._rollups.changed.add(name)

    def _receive(self, batch: _Batch, order: Upsert | SetStatus, findings: int, receipt: WriteResult) -> None:
        name = order.name
        self._services.dedup.settle(name, receipt.stored)
        if receipt.outcome is None and is_rollup(name):
            self._rollups.changed.add(name)
        elif receipt.outcome is None:
            self._touch({name})
            self._unsettled[name] += findings
        else:
            after, before = receipt.stored, order.stored
            self.resolved += after is not None and after.is_resolved
            self.reopened += after is not None and before is not None and after.reopened > before.reopened
            # A finding that was taken back while it waited for an earlier write of its record.
            self._close(findings, Outcome.FILTERED if isinstance(order, SetStatus) else receipt.outcome)
            if isinstance(order, Upsert):
                self._services.outcome_log.tell(
                    self._origin.source, order.event.key, receipt.outcome, _WHY.get(receipt.outcome, ""), name=name
                )
        batch.close_one(failed=receipt.outcome is None and not receipt.is_conflict)

    def _touch(self, names: Collection[str]) -> None:
        for name in names:
            self._unsettled.setdefault(name, 0)

    def _close(self, findings: int, outcome: Outcome) -> None:
        """Of several findings that became one record, one is stored and the others repeat it."""
        stored = min(findings, 1) if outcome is Outcome.STORED else 0
        rest = Outcome.REPEATED if outcome is Outcome.STORED else outcome
        self._services.ledger.settle(self._origin.source, Outcome.STORED, stored)
        self._services.ledger.settle(self._origin.source, rest, findings - stored)
