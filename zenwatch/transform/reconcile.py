"""See to it that the store says what the reports of one source say: the Intake of a pull source.

In: findings, report by report.  Out: envelopes to the writer.
Owns: what the reports say now (group.Holdings) and the names whose records are not known to agree with it.
Stops: with the round that calls settle(); what is left unsettled is found again by the first list after a restart.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from zenwatch.contract import Clock, Index, RecordWriter, TellsFates
from zenwatch.errors import Transient
from zenwatch.metrics import REPORTS_HELD, Ledger
from zenwatch.model.envelope import Envelope, Outcome, Receipt, Write
from zenwatch.model.event import Event
from zenwatch.model.finding import Finding, Severity
from zenwatch.transform.dedup import Dedup
from zenwatch.transform.group import Holdings
from zenwatch.transform.lifecycle import decide
from zenwatch.transform.normalise import normalise, require_source

# Merging as many takes some 10 ms: let others have the loop in between.
NAMES_AT_A_TIME = 100


_WHY = {
    Outcome.STORED: "Its record was made, or brought up to date.",
    Outcome.REPEATED: "Its record was there already.",
    Outcome.DEAD_LETTERED: "The store refuses it for good: `zenwatch deadletters list` or the log says why.",
}


@dataclass(frozen=True)
class Origin:
    """What is the same for all findings of one source. min_severity: findings below it are filtered."""

    source: str
    cluster_id: str
    min_severity: Severity


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
    def __init__(
        self, origin: Origin, *, index: Index, dedup: Dedup, writer: RecordWriter, ledger: Ledger, clock: Clock, fates: TellsFates
    ) -> None:
        self._origin = origin
        self._index = index
        self._dedup = dedup
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._fates = fates
        self._held = Holdings()
        # Name → findings that wait for it in the ledger; 0 where only the merge has to be looked at again.
        self._unsettled: dict[str, int] = {}

    # ------------------------------------------------------------ contract.Intake

    def version_of(self, report: str) -> str | None:
        return self._held.version_of(report)

    def take(self, report: str, version: str, findings: Sequence[Finding]) -> None:
        source, seen_at = self._origin.source, self._clock.now()
        require_source(findings, source)
        kept = [finding for finding in findings if finding.severity.is_at_least(self._origin.min_severity)]
        events = [normalise(finding, cluster_id=self._origin.cluster_id, seen_at=seen_at) for finding in kept]
        # Whatever can fail comes before the first count: a report is taken whole or not at all.
        touched = self._held.replace(report, version, events)
        self._ledger.receive(source, len(findings))
        self._ledger.settle(source, Outcome.FILTERED, len(findings) - len(kept))
        self._touch(touched)
        for finding in findings:
            if not finding.severity.is_at_least(self._origin.min_severity):
                below = f"Its severity {finding.severity} is below {self._origin.min_severity}, the least that is stored of {source}."
                self._fates.tell(source, finding.key, Outcome.FILTERED, below)
        for event in events:
            self._unsettled[event.name] += 1
        REPORTS_HELD.labels(source).set(len(self._held))

    def forget(self, report: str) -> None:
        self._touch(self._held.forget(report))
        REPORTS_HELD.labels(self._origin.source).set(len(self._held))

    def keep_only(self, place: str, reports: Collection[str]) -> None:
        for report in self._held.reports_of(place):
            if report not in reports:
                self.forget(report)

    async def settle(self) -> None:
        await self._index.wait_until_synced()
        batch = _Batch()
        for place, (name, event, count) in enumerate(self._held.merged(list(self._unsettled))):
            if place % NAMES_AT_A_TIME == NAMES_AT_A_TIME - 1:
                await asyncio.sleep(0)
            if event is None:
                # The tool took it back before it was written: there is nothing to store any more.
                self._close(self._unsettled.pop(name, 0), Outcome.FILTERED)
                continue
            write = decide(event, count=count, stored=self._index.get(name))
            if write is None:
                self._close(self._unsettled.pop(name, 0), Outcome.REPEATED)
            elif self._dedup.claim(name):
                await self._submit(write, batch)
            if batch.failed:
                # Each write that fails was retried by the writer: the others would fare no better now.
                break
        await batch.wait()
        if batch.failed:
            raise Transient(f"{batch.failed} records could not be written; {len(self._unsettled)} wait for the next round")

    async def _submit(self, write: Write, batch: _Batch) -> None:
        name = write.event.name
        findings = self._unsettled.pop(name, 0)
        batch.open += 1
        is_handed_over = False
        try:
            await self._writer.submit(Envelope(write, partial(self._receive, batch, write.event, findings)))
            is_handed_over = True
        finally:
            if not is_handed_over:
                # The round's time is up, or the process stops: the name must not stay claimed.
                self._receive(batch, write.event, findings, Receipt(outcome=None))

    # ------------------------------------------------------------ receipts

    def look_again(self, name: str) -> None:
        """The record disappeared from the store. What a report still says is written again."""
        if name in self._held:
            self._touch({name})

    def _receive(self, batch: _Batch, event: Event, findings: int, receipt: Receipt) -> None:
        name = event.name
        self._dedup.settle(name, receipt.stored)
        if receipt.outcome is None:
            self._touch({name})
            self._unsettled[name] += findings
        else:
            self._close(findings, receipt.outcome)
            self._fates.tell(self._origin.source, event.key, receipt.outcome, _WHY.get(receipt.outcome, ""), name=name)
        batch.close_one(failed=receipt.outcome is None)

    def _touch(self, names: Collection[str]) -> None:
        for name in names:
            self._unsettled.setdefault(name, 0)

    def _close(self, findings: int, outcome: Outcome) -> None:
        """Of several findings that became one record, one is stored and the others repeat it."""
        stored = min(findings, 1) if outcome is Outcome.STORED else 0
        rest = Outcome.REPEATED if outcome is Outcome.STORED else outcome
        self._ledger.settle(self._origin.source, Outcome.STORED, stored)
        self._ledger.settle(self._origin.source, rest, findings - stored)
