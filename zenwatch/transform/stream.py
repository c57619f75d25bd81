"""Store what a tool pushes: the PushIntake of one source.

In: findings, one body at a time.  Out: envelopes to the writer; a sighting of what is stored becomes a higher count.
Owns: the events that were taken and are not settled: one entry per record, however often it was seen meanwhile.
Stops: drain() closes the inbox and returns when all that was taken out of it is settled; give_up() counts what memory loses.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog
from cachetools import LRUCache

from zenwatch.contract import Inbox, PushWatcher, Store
from zenwatch.errors import Forbidden, NotFound, Transient, first_line
from zenwatch.metrics import PUSHED_ROLLED_UP
from zenwatch.model.envelope import Envelope, Outcome, Receipt, Write
from zenwatch.model.event import Event, rfc3339
from zenwatch.model.finding import Finding
from zenwatch.model.parcel import Intent, Parcel
from zenwatch.model.record import Stored, spec_hash
from zenwatch.supervise import backoff_secs
from zenwatch.transform.fates import Fate
from zenwatch.transform.group import entries_of, fitted, follow_up
from zenwatch.transform.normalise import normalise, require_source
from zenwatch.transform.pacing import Turns
from zenwatch.transform.pending import Past, Pending, Try, waits
from zenwatch.transform.rollup import ALWAYS_SCORE, added, is_rollup, rolled_up, tallied, tally_of
from zenwatch.transform.rooms import Rooms

log = structlog.get_logger(room="stream")

# What was last written of so many records is remembered, so that the next sighting need not read it. About 2 KiB each.
REMEMBERED_RECORDS = 256
# As many as the writer takes at a time by default: they are announced in the spool together.
WRITES_AT_A_TIME = 16
# What waits for an API server is written so soon after it is back.
LONGEST_PAUSE_SECS = 5.0


class StreamRooms(Rooms, Protocol):
    @property
    def store(self) -> Store: ...


_WHY = {
    Outcome.STORED: "A new record was made of it.",
    Outcome.REPEATED: "It is in the record that was there, and counted there if the tool's repeats count.",
    Outcome.DEAD_LETTERED: "The store refuses it for good: `zenwatch deadletters list` or the log says why.",
}


class Stream:
    def __init__(
        self,
        watcher: PushWatcher,
        *,
        cluster_id: str,
        inbox: Inbox,
        rooms: StreamRooms,
        coalesce_secs: float,
        window_secs: float | None = None,
    ) -> None:
        """coalesce_secs: after a write of a record, how long its next sightings are collected before the next one.
        window_secs: a sighting later than that after the one before reopens its record; None: none does that is open.
        """
        self.source = watcher.name
        self._watcher = watcher
        self._cluster_id = cluster_id
        self._inbox = inbox
        self._rooms = rooms
        self._window_secs = window_secs
        self._pending: dict[str, Pending] = {}
        self._turns = Turns(rooms.clock, gap_secs=coalesce_secs if watcher.counts_repeats else 0.0)
        self._never = asyncio.Event()
        self._failures = 0
        self._again_at = float("-inf")
        self._written: LRUCache[str, Past] = LRUCache(maxsize=REMEMBERED_RECORDS)
        # Offered or received, and not settled: what memory would lose. taken: of those, what is out of the inbox.
        self._unsettled = 0
        self._taken = 0
        self._is_drained = asyncio.Event()
        self._is_closing = False
        inbox.call_when_taken(self._receive_events)
        rooms.fates.ask_too(self._waiting_for)

    # ------------------------------------------------------------ contract.PushIntake

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        require_source(findings, self.source)
        seen_at = self._rooms.clock.now()
        events = [fitted(normalise(finding, cluster_id=self._cluster_id, seen_at=seen_at)) for finding in findings]
        taken = not events or await self._inbox.offer(events)
        if not taken and self._watcher.sender_retries:
            return False
        ledger = self._rooms.ledger
        ledger.receive(self.source, filtered + rejected)
        ledger.settle(self.source, Outcome.FILTERED, filtered)
        ledger.settle(self.source, Outcome.REJECTED, rejected)
        if not taken:
            ledger.receive(self.source, len(events))
            ledger.lose(self.source, "buffer_full", len(events))
            for event in events:
                self._tell(event, Outcome.LOST, "The buffer was full, and the sender does not send it again.")
        return taken

    # ------------------------------------------------------------ two tasks

    async def take(self) -> None:
        """Empty the inbox at once; what was seen before and is not written yet only adds to it."""
        while True:
            parcel = await self._inbox.receive()
            if parcel.intent is not None and is_rollup(parcel.intent.event.name):
                # So it was decided before a crash.
                parcel = replace(parcel, event=rolled_up(parcel.event))
            self._taken += 1
            if parcel.is_new_here:
                self._receive_events(1)
            pending = self._pending.get(parcel.event.name)
            if pending is None:
                self._pending[parcel.event.name] = pending = Pending(parcel.event, parcel.event.detected_at, parcel.ticket)
                self._take_up(pending, parcel)
                continue
            if self._counts(parcel.event.name):
                self._take_up(pending, parcel)
            else:
                # The same event, sent again, while the first one is on its way.
                self._inbox.settle([parcel.ticket])
                self._settle(Outcome.REPEATED, 1)
            # One more sighting needs no room of its own.
            self._inbox.release([parcel.ticket])
            if self._inbox.is_pressed:
                self._turns.hurry()

    async def write(self) -> None:
        """Hand one record after the other to the writer; each has one write in flight at most."""
        await self._rooms.index.wait_until_synced()
        while True:
            names = await self._turns.next(WRITES_AT_A_TIME)
            if (wait_secs := self._again_at - self._rooms.clock.monotonic_secs()) > 0:
                # Each write that fails was retried by the writer: the others would fare no better now.
                await self._rooms.clock.wait(self._never, timeout_secs=wait_secs)
            await self._hand_over(names)

    async def drain(self) -> None:
        """What a durable inbox still holds is left in it, for the next start."""
        self._inbox.close()
        self._is_closing = True
        self._turns.hurry()
        self._turns.gap_secs = 0.0
        if self.is_busy:
            await self._is_drained.wait()

    def give_up(self) -> None:
        """The process ends: what was taken and not stored is lost with it, unless it is on disk, and said so."""
        if self._unsettled and not self._inbox.is_durable:
            self._rooms.ledger.lose(self.source, "shutdown", self._unsettled)
            self._unsettled = 0

    @property
    def is_busy(self) -> bool:
        """Something that was taken out of the inbox, or that only memory has, is not settled."""
        return bool(self._taken if self._inbox.is_durable else self._unsettled)

    # ------------------------------------------------------------ one record

    def _counts(self, name: str) -> bool:
        """Whether one more event of that name is one more sighting."""
        return self._watcher.counts_repeats or is_rollup(name)

    def _has_room(self, name: str, pending: Pending) -> bool:
        """Whether the event may have a record of its own, which it has not yet. One that a write was announced for keeps it."""
        return is_rollup(name) or pending.is_busy or pending.event.score >= ALWAYS_SCORE or self._rooms.budget.room > 0

    def _roll_up(self, name: str) -> None:
        """All that waits for this record counts in the one of its resource instead."""
        pending = self._pending.pop(name)
        PUSHED_ROLLED_UP.labels(self.source).inc(pending.sightings)
        event = tallied(rolled_up(pending.event), {pending.event.severity: pending.sightings})
        rollup = self._pending.get(event.name)
        if rollup is None:
            self._pending[event.name] = rollup = Pending(event, pending.last_seen, pending.held)
        else:
            self._inbox.release([pending.held])
        rollup.event = added(event, tally_of(rollup.event.details)) if rollup.sightings else event
        rollup.last_seen = max(rollup.last_seen, pending.last_seen)
        rollup.sightings += pending.sightings
        rollup.tickets += pending.tickets
        if not rollup.is_busy:
            self._turns.ask(event.name)

    def _take_up(self, pending: Pending, parcel: Parcel) -> None:
        if parcel.intent is not None:
            self._take_up_intent(pending, parcel.intent)
            return
        event = parcel.event
        if pending.sightings:
            earlier = entries_of(pending.event, self._watcher.recent)
            first_at = min(event.detected_at, pending.event.detected_at)
            event = replace(follow_up(event, recent=self._watcher.recent, earlier=earlier), detected_at=first_at)
        pending.event = event
        pending.last_seen = max(parcel.event.detected_at, pending.last_seen)
        pending.sightings += 1
        pending.tickets.append(parcel.ticket)
        if pending.sightings == 1 and not pending.is_busy:
            self._turns.ask(event.name)

    def _take_up_intent(self, pending: Pending, intent: Intent) -> None:
        """Before a crash one write was to carry it and others. Once all of them are here, it is made again, or found made, as one."""
        pending.gathered += 1
        if pending.gathered == len(intent.carries):
            pending.failed = Try(intent.event, intent.spec_hash, intent.count, intent.sightings, intent.is_new, intent.carries)
            pending.gathered = 0
            self._turns.ask(intent.event.name)

    async def _hand_over(self, names: Sequence[str]) -> None:
        """Claim the records, announce their writes together, and submit them. What fails before that is asked for again."""
        left = [trying for name in names if (trying := await self._try_of(name)) is not None]
        try:
            if intents := [trying.intent for trying in left if self._counts(trying.event.name)]:
                await self._inbox.intend(intents)
            while left:
                trying = left[0]
                write = Write(trying.event, trying.hash, trying.status, trying.stored, is_exact=True)
                await self._rooms.writer.submit(Envelope(write, partial(self._receive, trying)))
                del left[0]
        finally:
            for trying in left:
                self._receive(trying, Receipt(outcome=None))

    async def _try_of(self, name: str) -> Try | None:
        """None: there is nothing to write, or it was asked for again."""
        stored = self._rooms.index.get(name)
        if stored is not None and not self._counts(name):
            # The same event, sent again: it is stored already.
            failed = self._pending[name].failed
            self._finish(name, Outcome.STORED if failed and failed.has_landed(stored) else Outcome.REPEATED)
            return None
        if stored is None and not self._has_room(name, self._pending[name]):
            self._roll_up(name)
            return None
        try:
            past = await self._past_of(stored) if stored is not None else Past()
        except (Transient, Forbidden) as exc:
            self._failed(exc)
            log.warning("record_not_read", source=self.source, name=name, error=first_line(exc))
            past = None
        if past is None:
            self._turns.ask(name)
            return None
        return self._claim(name, stored, past)

    def _claim(self, name: str, stored: Stored | None, past: Past) -> Try:
        pending = self._pending[name]
        failed = pending.failed
        said = failed.event if failed else pending.event
        event = follow_up(said, recent=self._watcher.recent, earlier=past.recent)
        # A write that is made again says what it said.
        event = event if failed else added(event, past.tally)
        sightings = failed.sightings if failed else pending.sightings
        count, is_new = sightings + (stored.count if stored is not None else 0), stored is None
        if failed and failed.has_landed(stored):
            count, is_new = failed.count, failed.is_new
        tickets = failed.tickets if failed else tuple(pending.tickets)
        if not failed:
            pending.sightings, pending.tickets = 0, []
        pending.failed, pending.in_flight = None, True
        seen_at = datetime.fromisoformat(max(pending.last_seen, past.last_seen))
        is_news = stored is not None and self._is_late(said.detected_at, past)
        return Try(event, spec_hash(event), count, sightings, is_new, tickets, seen_at, stored, is_news)

    def _is_late(self, detected_at: str, past: Past) -> bool:
        """Whether it was last seen longer ago than repeats count as such."""
        if self._window_secs is None or not past.last_seen:
            return False
        return (datetime.fromisoformat(detected_at) - datetime.fromisoformat(past.last_seen)).total_seconds() > self._window_secs

    async def _past_of(self, stored: Stored) -> Past | None:
        """None: the record is gone."""
        if (past := self._written.get(stored.name)) is not None:
            return past
        try:
            record = await self._rooms.store.read(stored)
        except NotFound:
            self._rooms.index.drop(stored.name)
            return None
        spec, status = record["spec"], record.get("status") or {}
        said = (spec.get("details") or {}).get(self._watcher.recent)
        recent = [entry for entry in said if isinstance(entry, str)] if isinstance(said, list) else []
        return Past(recent, str(status.get("lastSeen") or spec["detectedAt"]), tally_of(spec.get("details") or {}))

    # ------------------------------------------------------------ receipts

    def _receive(self, trying: Try, receipt: Receipt) -> None:
        name = trying.event.name
        pending = self._pending[name]
        pending.in_flight = False
        if receipt.stored is not None:
            self._rooms.index.put(receipt.stored)
        if receipt.outcome is not None:
            self._failures = 0
            seen_at = rfc3339(trying.seen_at or self._rooms.clock.now())
            self._written[name] = Past(entries_of(trying.event, self._watcher.recent), seen_at, tally_of(trying.event.details))
            self._turns.wrote(name)
            self._settle_try(trying, receipt.outcome)
        else:
            self._written.pop(name, None)
            pending.failed = trying
            if not receipt.is_surprised:
                self._failed()
            elif receipt.stored is None:
                self._rooms.index.drop(name)
        if pending.failed:
            self._turns.ask(name, at_once=True)
        elif pending.sightings:
            self._turns.ask(name)
        else:
            self._drop(name)

    def _failed(self, error: Exception | None = None) -> None:
        """Those that were on their way together fail together: that is one failure."""
        now = self._rooms.clock.monotonic_secs()
        if now >= self._again_at:
            self._failures += 1
            self._again_at = now + backoff_secs(self._failures, error, cap_secs=LONGEST_PAUSE_SECS)

    def _settle_try(self, trying: Try, outcome: Outcome) -> None:
        """Of several sightings that became one new record, one is stored and the others repeat it."""
        self._inbox.settle(trying.tickets)
        self._tell(trying.event, outcome if trying.is_new or outcome is Outcome.DEAD_LETTERED else Outcome.REPEATED, _WHY[outcome])
        if outcome in (Outcome.STORED, Outcome.REPEATED):
            self._settle(Outcome.STORED, int(trying.is_new))
            self._settle(Outcome.REPEATED, trying.sightings - trying.is_new)
        else:
            self._settle(outcome, trying.sightings)

    def _finish(self, name: str, outcome: Outcome) -> None:
        pending = self._pending[name]
        self._inbox.settle([*pending.tickets, *(pending.failed.tickets if pending.failed else ())])
        self._settle(outcome, pending.sightings + (pending.failed.sightings if pending.failed else 0))
        self._tell(pending.event, outcome, _WHY[outcome])
        self._drop(name)

    def _tell(self, event: Event, outcome: Outcome, why: str) -> None:
        self._rooms.fates.tell(self.source, event.key, outcome, why, name=event.name)

    def _waiting_for(self, query: str) -> list[Fate]:
        now = rfc3339(self._rooms.clock.now())
        found = [pending for name, pending in self._pending.items() if query in (name, pending.event.key)]
        return [Fate(self.source, one.event.key, one.event.name, "in_flight", waits(one), now) for one in found]

    def _drop(self, name: str) -> None:
        self._inbox.release([self._pending.pop(name).held])

    def _receive_events(self, events: int) -> None:
        self._rooms.ledger.receive(self.source, events)
        self._unsettled += events

    def _settle(self, outcome: Outcome, events: int) -> None:
        self._rooms.ledger.settle(self.source, outcome, events)
        self._unsettled -= events
        self._taken -= events
        if self._is_closing and not self.is_busy:
            self._is_drained.set()
