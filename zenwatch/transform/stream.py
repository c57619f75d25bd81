"""Store what a tool pushes: the PushIntake of one source.

In: findings, one body at a time.  Out: envelopes to the writer; a sighting of what is stored becomes a higher count.
Owns: the events that were taken and are not settled: one entry per record, however often it was seen meanwhile.
Stops: drain() closes the inbox and returns when all that was taken is settled; give_up() counts what is left as lost.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import structlog
from cachetools import LRUCache

from zenwatch.contract import Clock, Inbox, Index, PushWatcher, RecordWriter, Store
from zenwatch.errors import Forbidden, NotFound, Transient, first_line
from zenwatch.metrics import Ledger
from zenwatch.model.envelope import Envelope, Outcome, Receipt, Write
from zenwatch.model.event import Event, rfc3339
from zenwatch.model.finding import Finding
from zenwatch.model.record import Stored, spec_hash
from zenwatch.supervise import backoff_secs
from zenwatch.transform.group import entries_of, fitted, follow_up
from zenwatch.transform.normalise import normalise, require_source

log = structlog.get_logger(room="stream")

# What was last written of so many records is remembered, so that the next sighting need not read it. About 2 KiB each.
REMEMBERED_RECORDS = 256


@dataclass(frozen=True, slots=True)
class _Past:
    """What a record says of earlier sightings. recent: the list that goes on; last_seen: RFC 3339."""

    recent: Sequence[str] = ()
    last_seen: str = ""


@dataclass(frozen=True, slots=True)
class _Try:
    """A write and the sightings it carries. is_new: the record was not there before them."""

    write: Write
    sightings: int
    is_new: bool

    def has_landed(self, stored: Stored | None) -> bool:
        """What is stored says what this write said: only the answer was lost. Its count holds, and is not added again."""
        return stored is not None and stored.spec_hash == self.write.spec_hash


@dataclass(slots=True)
class _Pending:
    """One record's sightings that are not settled.

    event: of the last one, with `recent` of all. sightings: those that no write carried yet. failed: the write that has to be made
    before another one is: as long as nobody answered it, nobody knows whether it was.
    """

    event: Event
    last_seen: str
    release: Callable[[], None]
    sightings: int = 1
    failed: _Try | None = None


class Stream:
    def __init__(
        self,
        watcher: PushWatcher,
        *,
        cluster_id: str,
        inbox: Inbox,
        index: Index,
        store: Store,
        writer: RecordWriter,
        ledger: Ledger,
        clock: Clock,
    ) -> None:
        self._watcher = watcher
        self.source = watcher.name
        self._cluster_id = cluster_id
        self._inbox = inbox
        self._index = index
        self._store = store
        self._writer = writer
        self._ledger = ledger
        self._clock = clock
        self._pending: dict[str, _Pending] = {}
        # Names in the order in which they became ready to be written.
        self._ready: dict[str, None] = {}
        self._news = asyncio.Event()
        self._is_drained = asyncio.Event()
        self._is_closing = False
        self._never = asyncio.Event()
        self._failures = 0
        self._written: LRUCache[str, _Past] = LRUCache(maxsize=REMEMBERED_RECORDS)
        self._unsettled = 0

    # ------------------------------------------------------------ contract.PushIntake

    def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        require_source(findings, self.source)
        seen_at = self._clock.now()
        events = [fitted(normalise(finding, cluster_id=self._cluster_id, seen_at=seen_at)) for finding in findings]
        taken = not events or self._inbox.offer(events)
        if not taken and self._watcher.sender_retries:
            return False
        self._ledger.receive(self.source, len(events) + filtered + rejected)
        self._ledger.settle(self.source, Outcome.FILTERED, filtered)
        self._ledger.settle(self.source, Outcome.REJECTED, rejected)
        if taken:
            self._unsettled += len(events)
        else:
            self._ledger.lose(self.source, "buffer_full", len(events))
        return taken

    # ------------------------------------------------------------ two tasks

    async def take(self) -> None:
        """Empty the inbox at once; what was seen before and is not written yet only adds to it."""
        while True:
            event, release = await self._inbox.receive()
            pending = self._pending.get(event.name)
            if pending is None:
                self._pending[event.name] = _Pending(event, event.detected_at, release)
                self._make_ready(event.name)
                continue
            if self._watcher.counts_repeats:
                self._add(pending, event)
            else:
                self._settle(Outcome.REPEATED, 1)
            # One more sighting needs no room of its own.
            release()

    async def write(self) -> None:
        """Hand one record after the other to the writer; each has one write in flight at most."""
        await self._index.wait_until_synced()
        while True:
            while not self._ready:
                self._news.clear()
                await self._news.wait()
            if self._failures:
                # Each write that fails was retried by the writer: the others would fare no better now.
                await self._clock.wait(self._never, timeout_secs=backoff_secs(self._failures))
            name = next(iter(self._ready))
            try:
                await self._hand_over(name)
            except (Transient, Forbidden) as exc:
                self._failures += 1
                log.warning("record_not_read", source=self.source, name=name, error=first_line(exc))

    async def drain(self) -> None:
        self._inbox.close()
        self._is_closing = True
        if self._unsettled:
            await self._is_drained.wait()

    def give_up(self) -> None:
        """The process ends: what was taken and not stored is lost with it, and said so."""
        if self._unsettled:
            self._ledger.lose(self.source, "shutdown", self._unsettled)
            self._unsettled = 0

    # ------------------------------------------------------------ one record

    def _add(self, pending: _Pending, event: Event) -> None:
        earlier = entries_of(pending.event, self._watcher.recent)
        first_at = min(event.detected_at, pending.event.detected_at)
        pending.event = replace(follow_up(event, recent=self._watcher.recent, earlier=earlier), detected_at=first_at)
        pending.last_seen = max(event.detected_at, pending.last_seen)
        pending.sightings += 1

    async def _hand_over(self, name: str) -> None:
        """Claim the record and submit its write. What fails before that leaves the name ready."""
        stored = self._index.get(name)
        if stored is not None and not self._watcher.counts_repeats:
            # The same event, sent again: it is stored already.
            failed = self._pending[name].failed
            self._finish(name, Outcome.STORED if failed and failed.has_landed(stored) else Outcome.REPEATED)
            return
        past = await self._past_of(stored) if stored is not None else _Past()
        if past is None:
            # Gone meanwhile: the index says so now.
            return
        trying = self._claim(name, stored, past)
        is_handed_over = False
        try:
            await self._writer.submit(Envelope(trying.write, partial(self._receive, trying)))
            is_handed_over = True
        finally:
            if not is_handed_over:
                self._receive(trying, Receipt(outcome=None))

    def _claim(self, name: str, stored: Stored | None, past: _Past) -> _Try:
        pending = self._pending[name]
        failed = pending.failed
        said = failed.write.event if failed else pending.event
        event = follow_up(said, recent=self._watcher.recent, earlier=past.recent)
        sightings = failed.sightings if failed else pending.sightings
        count, is_new = sightings + (stored.count if stored is not None else 0), stored is None
        if failed and failed.has_landed(stored):
            count, is_new = failed.write.count, failed.is_new
        seen_at = datetime.fromisoformat(max(pending.last_seen, past.last_seen))
        del self._ready[name]
        pending.sightings, pending.failed = pending.sightings if failed else 0, None
        return _Try(Write(event, spec_hash(event), count, stored, seen_at=seen_at, is_exact=True), sightings, is_new)

    async def _past_of(self, stored: Stored) -> _Past | None:
        """None: the record is gone."""
        if (past := self._written.get(stored.name)) is not None:
            return past
        try:
            record = await self._store.read(stored)
        except NotFound:
            self._index.drop(stored.name)
            return None
        spec, status = record["spec"], record.get("status") or {}
        said = (spec.get("details") or {}).get(self._watcher.recent)
        recent = [entry for entry in said if isinstance(entry, str)] if isinstance(said, list) else []
        return _Past(recent, str(status.get("lastSeen") or spec["detectedAt"]))

    def _receive(self, trying: _Try, receipt: Receipt) -> None:
        write, name = trying.write, trying.write.event.name
        pending = self._pending[name]
        if receipt.stored is not None:
            self._index.put(receipt.stored)
        if receipt.outcome is not None:
            self._failures = 0
            self._written[name] = _Past(entries_of(write.event, self._watcher.recent), rfc3339(write.seen_at or self._clock.now()))
            self._settle_try(trying, receipt.outcome)
        else:
            self._written.pop(name, None)
            pending.failed = trying
            if not receipt.is_surprised:
                self._failures += 1
            elif receipt.stored is None:
                self._index.drop(name)
        if pending.sightings or pending.failed:
            self._make_ready(name)
        else:
            self._drop(name)

    def _settle_try(self, trying: _Try, outcome: Outcome) -> None:
        """Of several sightings that became one new record, one is stored and the others repeat it."""
        if outcome in (Outcome.STORED, Outcome.REPEATED):
            self._settle(Outcome.STORED, int(trying.is_new))
            self._settle(Outcome.REPEATED, trying.sightings - trying.is_new)
        else:
            self._settle(outcome, trying.sightings)

    def _finish(self, name: str, outcome: Outcome) -> None:
        del self._ready[name]
        pending = self._pending[name]
        self._settle(outcome, pending.sightings + (pending.failed.sightings if pending.failed else 0))
        self._drop(name)

    def _drop(self, name: str) -> None:
        self._pending.pop(name).release()

    def _make_ready(self, name: str) -> None:
        self._ready[name] = None
        self._news.set()

    def _settle(self, outcome: Outcome, events: int) -> None:
        self._ledger.settle(self.source, outcome, events)
        self._unsettled -= events
        if self._is_closing and not self._unsettled:
            self._is_drained.set()
