"""Keep the records of one origin in agreement with its reports: contract.Intake of a pull source.

The reports are the desired state, the records the actual state; settle() makes them equal. A write that failed, a record that somebody
deleted, a report that changed while it was written: each only marks a name as unsettled, and the next settle() handles it.
"""

import asyncio
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from zenwatch.contract import Accounts, Capacity, Clock, Records, RecordWriter
from zenwatch.errors import Transient
from zenwatch.metrics import REPORTS_CACHED
from zenwatch.model.event import Event
from zenwatch.model.finding import Finding, Resource, Severity
from zenwatch.model.record import Reason, Stored
from zenwatch.model.refs import Origin, ReportRef, Scope
from zenwatch.model.write import Outcome
from zenwatch.processing.event.normalise import name_of, normalise, require_source
from zenwatch.processing.pull.capacity import NAMES_AT_A_TIME, CapacityPlan
from zenwatch.processing.pull.freshness import Freshness
from zenwatch.processing.pull.lifecycle import decide, resolution
from zenwatch.processing.pull.regrouping import Regroup, Regrouping
from zenwatch.processing.pull.report_cache import ReportCache
from zenwatch.processing.pull.tombstones import Tombstones
from zenwatch.processing.pull.unsettled import Unsettled
from zenwatch.processing.pull.writes import Batch, PullWrites
from zenwatch.processing.rollup import is_rollup


@dataclass(frozen=True)
class PullPolicy:
    """What the user set for one pull source.

    min_severity: findings below it are filtered. grace_secs: how long a report may be gone before its findings are resolved.
    regroup: what GROUP_BY_OWNER would make of a finding, where it is off and the watcher can do that.
    scopes: all that are read. is_confined: other scopes may hold reports as well, which are not read.
    """

    min_severity: Severity = Severity.INFO
    grace_secs: float = 600.0
    scopes: frozenset[Scope] = frozenset()
    is_confined: bool = False
    regroup: Regroup | None = None


class Reconciler:
    def __init__(
        self,
        origin: Origin,
        policy: PullPolicy,
        *,
        records: Records,
        writer: RecordWriter,
        accounts: Accounts,
        capacity: Capacity,
        clock: Clock,
    ) -> None:
        self._origin = origin
        self._policy = policy
        self._records = records
        self._accounts = accounts
        self._clock = clock
        self._cache = ReportCache()
        self._tombstones = Tombstones(clock, grace_secs=policy.grace_secs)
        self._freshness = Freshness(policy.scopes, is_confined=policy.is_confined)
        self._unsettled = Unsettled()
        self._may_have_orphans = False
        self._plan = CapacityPlan(origin, self._cache, records=records, capacity=capacity)
        self._writes = PullWrites(origin, writer, when_not_written=self._not_written)

    @property
    def resolved(self) -> int:
        """How many records it has resolved."""
        return self._writes.resolved

    @property
    def reopened(self) -> int:
        return self._writes.reopened

    # ------------------------------------------------------------ contract.Intake: what the reports hold

    def version_of(self, report: ReportRef) -> str | None:
        return self._cache.version_of(report)

    def take(
        self,
        report: ReportRef,
        version: str,
        findings: Sequence[Finding],
        *,
        subject: Resource | None = None,
        former: Sequence[Finding] = (),
        rejected: int = 0,
    ) -> None:
        require_source(findings, self._origin.source)
        seen_at, cluster_id, least = self._clock.now(), self._origin.cluster_id, self._policy.min_severity
        events = [normalise(f, cluster_id=cluster_id, seen_at=seen_at) for f in findings if f.severity.is_at_least(least)]
        below = [finding for finding in findings if not finding.severity.is_at_least(least)]
        filtered = {name_of(f, cluster_id=cluster_id) for f in (*below, *(f for f in former if not f.severity.is_at_least(least)))}
        renamed = {name_of(f, cluster_id=cluster_id) for f in former if f.severity.is_at_least(least)}
        subjects = {subject} if subject is not None else {finding.resource for finding in findings}
        # Whatever can fail comes before the first count: a report is taken or rejected, never half of it.
        touched = self._cache.replace(report, version, events, filtered=filtered, former=renamed, subjects=subjects, is_whole=not rejected)
        self._unsettled.touch(touched)
        if rejected:
            self._freshness.mark_unreadable(report)
        else:
            self._unsettled.touch(self._tombstones.drop(report))
            self._freshness.mark_readable(report)
        for event in events:
            self._unsettled.add(event.name)
        self._count(len(findings), below)
        self._reject(rejected)

    def cannot_read(self, report: ReportRef, *, rejected: int = 0) -> None:
        self._freshness.mark_unreadable(report)
        self._reject(rejected)

    def forget(self, report: ReportRef) -> None:
        names = self._cache.forget(report)
        self._tombstones.add(report, names)
        self._freshness.mark_readable(report)
        self._unsettled.touch(names)
        self._count_reports()

    def replace_all(self, scope: Scope, reports: Collection[ReportRef]) -> None:
        for report in {*self._cache.reports_in(scope), *self._freshness.unreadable_in(scope)}.difference(reports):
            self.forget(report)
        self._freshness.mark_listed(scope)

    def mark_stale(self, scope: Scope) -> None:
        self._freshness.mark_stale(scope)

    def mark_fresh(self, scope: Scope) -> None:
        self._freshness.mark_fresh(scope)

    # ------------------------------------------------------------ settle

    def recheck(self, name: str) -> None:
        """Somebody deleted or changed the record: write again what a report still holds, and resolve what none holds."""
        if name in self._cache:
            self._unsettled.touch([name])
        else:
            self._may_have_orphans = True
        self._plan.recheck(name)

    def recheck_all(self) -> None:
        """Compare every record again: somebody else may have written while this process did not."""
        self._unsettled.touch(self._cache.names())

    async def settle(self) -> None:
        await self._records.wait_until_synced()
        if self._freshness.pop_new_scope() or self._may_have_orphans:
            self._may_have_orphans = False
            await self._find_orphans()
        self._unsettled.touch(self._tombstones.expire(self._freshness.is_absent))
        batch = Batch()
        await self._resolve_absent(batch)
        self._unsettled.touch(self._plan.next_in_line())
        without_space = await self._plan.without_space(list(self._unsettled))
        for names in _chunks(self._cache.by_report(self._unsettled)):
            await self._write(names, without_space, batch)
            if batch.failed:
                # The writer has retried each write that failed: the others would not succeed now.
                break
            await asyncio.sleep(0)
        await self._plan.write(self._writes, batch)
        await batch.wait()
        if batch.failed:
            raise Transient(f"{batch.failed} records could not be written; {len(self._unsettled)} wait for the next round")

    async def _write(self, names: Sequence[str], without_space: Collection[str], batch: Batch) -> None:
        """Create, update or reopen the records of findings that reports hold."""
        known = await self._records.by_names(names)
        # Each is merged right before its write: a report may change while another record is handed over.
        for name, event, holders in self._cache.merged(names):
            if batch.failed:
                return
            stored = known.get(name)
            if stored is None and name in without_space:
                self._roll_up(event)
                continue
            self._plan.release(name)
            request = decide(event, count=len(holders), stored=stored, report=holders[0])
            if request is None:
                self._accounts.settle(self._origin, Outcome.REPEATED, self._unsettled.pop(name))
            elif not self._writes.is_in_flight(name):
                await self._writes.submit(request, self._unsettled.pop(name), batch)

    def _roll_up(self, event: Event) -> None:
        rollup = self._plan.roll_up(event)
        self._accounts.settle(self._origin, Outcome.REPEATED, self._unsettled.pop(event.name))
        why = "There is no space for a record of its own."
        self._accounts.record_outcome(self._origin, event.key, Outcome.REPEATED, why, name=rollup)

    # ------------------------------------------------------------ what no report holds any more

    async def _find_orphans(self) -> None:
        """Find unresolved records that no report has mentioned since start: either the report was deleted, or it dropped the finding."""
        orphans: dict[ReportRef | None, list[str]] = {}
        for stored in await self._records.unresolved_of(self._origin):
            name, report = stored.name, stored.report_ref
            if is_rollup(name):
                if self._freshness.is_everything_fresh:
                    self._plan.recheck_stored(name)
                continue
            is_known = name in self._cache or name in self._unsettled or self._tombstones.hold(name)
            if is_known or not self._freshness.is_watched(report):
                continue
            if report is not None and self._cache.version_of(report) is not None:
                self._unsettled.touch([name])
            else:
                orphans.setdefault(report, []).append(name)
        for report, names in orphans.items():
            self._tombstones.add(report, names)

    async def _resolve_absent(self, batch: Batch) -> None:
        absent = [name for name in self._unsettled if name not in self._cache]
        below = self._cache.filtered_among(absent)
        known = await self._records.by_names(absent)
        regrouping = Regrouping(self._cache, self._policy.regroup, absent)
        for name in absent:
            if batch.failed:
                return
            if name in self._cache:
                # A report took it up while others were written.
                continue
            stored = known.get(name)
            self._plan.release(name)
            renamed = stored is not None and not stored.is_resolved and regrouping.renamed(stored)
            if stored is None or stored.is_resolved or self._tombstones.hold(name) or (not renamed and self._is_unclear(stored)):
                # A finding that was withdrawn before it was written is not written; of one that may come back nothing is known yet.
                self._accounts.settle(self._origin, Outcome.FILTERED, self._unsettled.pop(name))
            elif not self._writes.is_in_flight(name):
                reason = Reason.REGROUPED if renamed else Reason.BELOW_THRESHOLD if name in below else self._reason(stored)
                await self._writes.submit(resolution(stored, reason), self._unsettled.pop(name), batch)

    def _is_unclear(self, stored: Stored) -> bool:
        """Whether an entry that is not understood may be this finding. It then waits until that report is understood whole, or gone."""
        unclear = self._cache.unclear_report(stored.report_ref, stored.resource)
        if unclear is not None:
            self._tombstones.add(unclear, [stored.name])
        return unclear is not None

    def _reason(self, stored: Stored) -> Reason:
        return Reason.FIXED if self._cache.covers(stored.report_ref, stored.resource) else Reason.REPORT_GONE

    # ------------------------------------------------------------ counts

    def _not_written(self, name: str, findings: int) -> None:
        if is_rollup(name):
            self._plan.recheck_stored(name)
        else:
            self._unsettled.add(name, findings)

    def _count(self, findings: int, below: Sequence[Finding]) -> None:
        self._accounts.receive(self._origin, findings)
        self._accounts.settle(self._origin, Outcome.FILTERED, len(below))
        for finding in below:
            source, least = self._origin.source, self._policy.min_severity
            why = f"Its severity {finding.severity} is below {least}, the least that is stored of {source}."
            self._accounts.record_outcome(self._origin, finding.key, Outcome.FILTERED, why)
        self._count_reports()

    def _reject(self, entries: int) -> None:
        self._accounts.receive(self._origin, entries)
        self._accounts.settle(self._origin, Outcome.REJECTED, entries)

    def _count_reports(self) -> None:
        REPORTS_CACHED.labels(*self._origin).set(len(self._cache))


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Merging a chunk takes some 10 ms: others have the loop in between."""
    return (names[start : start + NAMES_AT_A_TIME] for start in range(0, len(names), NAMES_AT_A_TIME))
