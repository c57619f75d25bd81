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

from zenwatch.contract import Inbox, Store
from zenwatch.errors import Forbidden, NotFound, Transient, first_line
from zenwatch.metrics import PUSHED_ROLLED_UP
from zenwatch.model.event import Event
from zenwatch.model.finding import Finding
from zenwatch.model.queue import Intent, QueuedEvent
from zenwatch.model.record import Stored, spec_hash
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Envelope, Outcome, Upsert, WriteResult
from zenwatch.processing.event.merge import follow_up, list_detail, truncated_to_limit
from zenwatch.processing.event.normalise import normalise, require_source
from zenwatch.processing.outcome_log import LoggedOutcome
from zenwatch.processing.push.attempts import PendingRecord, PriorSightings, WriteAttempt, explain_wait
from zenwatch.processing.push.schedule import WriteSchedule
from zenwatch.processing.rollup import ALWAYS_SCORE, added, is_rollup, rolled_up, tallied, tally_of
from zenwatch.processing.services import Rooms
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.sdk.watcher import PushWatcher

log = structlog.get_logger(component="stream")

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


class PushedEvents:
    def __init__(
        self,
        watcher: PushWatcher,
        *,
        cluster_id: str,
        inbox: Inbox,
        services: StreamRooms,
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
        self._services = services
        self._window_secs = window_secs
        self._pending: dict[str, PendingRecord] = {}
        self._schedule = WriteSchedule(services.clock, gap_secs=coalesce_secs if watcher.counts_repeats else 0.0)
        self._never = asyncio.Event()
        self._failures = 0
        self._again_at = float("-inf")
        self._written: LRUCache[str, PriorSightings] = LRUCache(maxsize=REMEMBERED_RECORDS)
        # Offered or received, and not settled: what memory would lose. taken: of those, what is out of the inbox.
        self._unsettled = 0
        self._taken = 0
        self._is_drained = asyncio.Event()
        self._is_closing = False
        inbox.call_when_taken(self._receive_events)
        services.outcome_log.ask_too(self._waiting_for)

    # ------------------------------------------------------------ contract.PushIntake

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        require_source(findings, self.source)
        seen_at = self._services.clock.now()
        events = [truncated_to_limit(normalise(finding, cluster_id=self._cluster_id, seen_at=seen_at)) for finding in findings]
        taken = not events or await self._inbox.offer(events)
        if not taken and self._watcher.sender_retries:
            return False
        ledger = self._services.ledger
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
            queued = await self._inbox.receive()
            if queued.intent is not None and is_rollup(queued.intent.event.name):
                # So it was decided before a crash.
                queued = replace(queued, event=rolled_up(queued.event))
            self._taken += 1
            if queued.is_new_here:
                self._receive_events(1)
            pending = self._pending.get(queued.event.name)
            if pending is None:
                self._pending[queued.event.name] = pending = PendingRecord(queued.event, queued.event.detected_at, queued.message_id)
                self._take_up(pending, queued)
                continue
            if self._counts(queued.event.name):
                self._take_up(pending, queued)
            else:
                # The same event, sent again, while the first one is on its way.
                self._inbox.settle([queued.message_id])
                self._settle(Outcome.REPEATED, 1)
            # One more sighting needs no room of its own.
            self._inbox.release([queued.message_id])
            if self._inbox.is_pressed:
                self._schedule.flush()

    async def write(self) -> None:
        """Hand one record after the other to the writer; each has one write in flight at most."""
        await self._services.index.wait_until_synced()
        while True:
            names = await self._schedule.next(WRITES_AT_A_TIME)
            if (wait_secs := self._again_at - self._services.clock.monotonic_secs()) > 0:
                # Each write that fails was retried by the writer: the others would fare no better now.
                await self._services.clock.wait(self._never, timeout_secs=wait_secs)
            await self._hand_over(names)

    async def drain(self) -> None:
        """What a durable inbox still holds is left in it, for the next start."""
        self._inbox.close()
        self._is_closing = True
        self._schedule.flush()
        self._schedule.gap_secs = 0.0
        if self.is_busy:
            await self._is_drained.wait()

    def give_up(self) -> None:
        """The process ends: what was taken and not stored is lost with it, unless it is on disk, and said so."""
        if self._unsettled and not self._inbox.is_durable:
            self._services.ledger.lose(self.source, "shutdown", self._unsettled)
            self._unsettled = 0

    @property
    def is_busy(self) -> bool:
        """Something that was taken out of the inbox, or that only memory has, is not settled."""
        return bool(self._taken if self._inbox.is_durable else self._unsettled)

    # ------------------------------------------------------------ one record

    def _counts(self, name: str) -> bool:
        """Whether one more event of that name is one more sighting."""
        return self._watcher.counts_repeats or is_rollup(name)

    def _has_room(self, name: str, pending: PendingRecord) -> bool:
        """Whether the event may have a record of its own, which it has not yet. One that a write was announced for keeps it."""
        return is_rollup(name) or pending.is_busy or pending.event.score >= ALWAYS_SCORE or self._services.budget.free_records > 0

    def _roll_up(self, name: str) -> None:
        """All that waits for this record counts in the one of its resource instead."""
        pending = self._pending.pop(name)
        PUSHED_ROLLED_UP.labels(self.source).inc(pending.sightings)
        event = tallied(rolled_up(pending.event), {pending.event.severity: pending.sightings})
        rollup = self._pending.get(event.name)
        if rollup is None:
            self._pending[event.name] = rollup = PendingRecord(event, pending.last_seen, pending.held)
        else:
            self._inbox.release([pending.held])
        rollup.event = added(event, tally_of(rollup.event.details)) if rollup.sightings else event
        rollup.last_seen = max(rollup.last_seen, pending.last_seen)
        rollup.sightings += pending.sightings
        rollup.message_ids += pending.message_ids
        if not rollup.is_busy:
            self._schedule.ask(event.name)

    def _take_up(self, pending: PendingRecord, queued: QueuedEvent) -> None:
        if queued.intent is not None:
            self._take_up_intent(pending, queued.intent)
            return
        event = queued.event
        if pending.sightings:
            earlier = list_detail(pending.event, self._watcher.recent)
            first_at = min(event.detected_at, pending.event.detected_at)
            event = replace(follow_up(event, recent=self._watcher.recent, earlier=earlier), detected_at=first_at)
        pending.event = event
        pending.last_seen = max(queued.event.detected_at, pending.last_seen)
        pending.sightings += 1
        pending.message_ids.append(queued.message_id)
        if pending.sightings == 1 and not pending.is_busy:
            self._schedule.ask(event.name)

    def _take_up_intent(self, pending: PendingRecord, intent: Intent) -> None:
        """Before a crash one write was to carry it and others. Once all of them are here, it is made again, or found made, as one."""
        pending.gathered += 1
        if pending.gathered == len(intent.carries):
            pending.failed = WriteAttempt(intent.event, intent.spec_hash, intent.count, intent.sightings, intent.is_new, intent.carries)
            pending.gathered = 0
            self._schedule.ask(intent.event.name)

    async def _hand_over(self, names: Sequence[str]) -> None:
        """Claim the records, announce their writes together, and submit them. What fails before that is asked for again."""
        left = [attempt for name in names if (attempt := await self._try_of(name)) is not None]
        try:
            if intents := [attempt.intent for attempt in left if self._counts(attempt.event.name)]:
                await self._inbox.intend(intents)
            while left:
                attempt = left[0]
                write = Upsert(attempt.event, attempt.hash, attempt.status, attempt.stored, is_exact=True)
                await self._services.writer.submit(Envelope(write, partial(self._receive, attempt)))
                del left[0]
        finally:
            for attempt in left:
                self._receive(attempt, WriteResult(outcome=None))

    async def _try_of(self, name: str) -> WriteAttempt | None:
        """None: there is nothing to write, or it was asked for again."""
        stored = self._services.index.get(name)
        if stored is not None and not self._counts(name):
            # The same event, sent again: it is stored already.
            failed = self._pending[name].failed
            self._finish(name, Outcome.STORED if failed and failed.is_stored_as(stored) else Outcome.REPEATED)
            return None
        if stored is None and not self._has_room(name, self._pending[name]):
            self._roll_up(name)
            return None
        try:
            past = await self._past_of(stored) if stored is not None else PriorSightings()
        except (Transient, Forbidden) as exc:
            self._failed(exc)
            log.warning("record_not_read", source=self.source, name=name, error=first_line(exc))
            past = None
        if past is None:
            self._schedule.ask(name)
            return None
        return self._claim(name, stored, past)

    def _claim(self, name: str, stored: Stored | None, past: PriorSightings) -> WriteAttempt:
        pending = self._pending[name]
        failed = pending.failed
        said = failed.event if failed else pending.event
        event = follow_up(said, recent=self._watcher.recent, earlier=past.recent)
        # A write that is made again says what it said.
        event = event if failed else added(event, past.tally)
        sightings = failed.sightings if failed else pending.sightings
        count, is_new = sightings + (stored.count if stored is not None else 0), stored is None
        if failed and failed.is_stored_as(stored):
            count, is_new = failed.count, failed.is_new
        message_ids = failed.message_ids if failed else tuple(pending.message_ids)
        if not failed:
            pending.sightings, pending.message_ids = 0, []
        pending.failed, pending.in_flight = None, True
        seen_at = datetime.fromisoformat(max(pending.last_seen, past.last_seen))
        starts_new_occurrence = stored is not None and self._is_late(said.detected_at, past)
        return WriteAttempt(event, spec_hash(event), count, sightings, is_new, message_ids, seen_at, stored, starts_new_occurrence)

    def _is_late(self, detected_at: str, past: PriorSightings) -> bool:
        """Whether it was last seen longer ago than repeats count as such."""
        if self._window_secs is None or not past.last_seen:
            return False
        return (datetime.fromisoformat(detected_at) - datetime.fromisoformat(past.last_seen)).total_seconds() > self._window_secs

    async def _past_of(self, stored: Stored) -> PriorSightings | None:
        """None: the record is gone."""
        if (past := self._written.get(stored.name)) is not None:
            return past
        try:
            record = await self._services.store.read(stored)
        except NotFound:
            self._services.index.drop(stored.name)
            return None
        spec, status = record["spec"], record.get("status") or {}
        said = (spec.get("details") or {}).get(self._watcher.recent)
        recent = [entry for entry in said if isinstance(entry, str)] if isinstance(said, list) else []
        return PriorSightings(recent, str(status.get("lastSeen") or spec["detectedAt"]), tally_of(spec.get("details") or {}))

    # ------------------------------------------------------------ receipts

    def _receive(self, attempt: WriteAttempt, receipt: WriteResult) -> None:
        name = attempt.event.name
        pending = self._pending[name]
        pending.in_flight = False
        if receipt.stored is not None:
            self._services.index.put(receipt.stored)
        if receipt.outcome is not None:
            self._failures = 0
            seen_at = format_rfc3339(attempt.seen_at or self._services.clock.now())
            self._written[name] = PriorSightings(list_detail(attempt.event, self._watcher.recent), seen_at, tally_of(attempt.event.details))
            self._schedule.wrote(name)
            self._settle_try(attempt, receipt.outcome)
        else:
            self._written.pop(name, None)
            pending.failed = attempt
            if not receipt.is_conflict:
                self._failed()
            elif receipt.stored is None:
                self._services.index.drop(name)
        if pending.failed:
            self._schedule.ask(name, at_once=True)
        elif pending.sightings:
            self._schedule.ask(name)
        else:
            self._drop(name)

    def _failed(self, error: Exception | None = None) -> None:
        """Those that were on their way together fail together: that is one failure."""
        now = self._services.clock.monotonic_secs()
        if now >= self._again_at:
            self._failures += 1
            self._again_at = now + backoff_secs(self._failures, error, cap_secs=LONGEST_PAUSE_SECS)

    def _settle_try(self, attempt: WriteAttempt, outcome: Outcome) -> None:
        """Of several sightings that became one new record, one is stored and the others repeat it."""
        self._inbox.settle(attempt.message_ids)
        self._tell(attempt.event, outcome if attempt.is_new or outcome is Outcome.DEAD_LETTERED else Outcome.REPEATED, _WHY[outcome])
        if outcome in (Outcome.STORED, Outcome.REPEATED):
            self._settle(Outcome.STORED, int(attempt.is_new))
            self._settle(Outcome.REPEATED, attempt.sightings - attempt.is_new)
        else:
            self._settle(outcome, attempt.sightings)

    def _finish(self, name: str, outcome: Outcome) -> None:
        pending = self._pending[name]
        self._inbox.settle([*pending.message_ids, *(pending.failed.message_ids if pending.failed else ())])
        self._settle(outcome, pending.sightings + (pending.failed.sightings if pending.failed else 0))
        self._tell(pending.event, outcome, _WHY[outcome])
        self._drop(name)

    def _tell(self, event: Event, outcome: Outcome, why: str) -> None:
        self._services.outcome_log.tell(self.source, event.key, outcome, why, name=event.name)

    def _waiting_for(self, query: str) -> list[LoggedOutcome]:
        now = format_rfc3339(self._services.clock.now())
        found = [pending for name, pending in self._pending.items() if query in (name, pending.event.key)]
        return [LoggedOutcome(self.source, one.event.key, one.event.name, "in_flight", explain_wait(one), now) for one in found]

    def _drop(self, name: str) -> None:
        self._inbox.release([self._pending.pop(name).held])

    def _receive_events(self, events: int) -> None:
        self._services.ledger.receive(self.source, events)
        self._unsettled += events

    def _settle(self, outcome: Outcome, events: int) -> None:
        self._services.ledger.settle(self.source, outcome, events)
        self._unsettled -= events
        self._taken -= events
        if self._is_closing and not self.is_busy:
            self._is_drained.set()
