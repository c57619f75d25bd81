"""Store what a tool posts: a sighting of a stored record becomes a higher count.

In: events out of the inbox.  Out: envelopes to the writer; each write that counts is announced in the inbox first.
Owns: the records that have sightings which are not settled.
Stops: drain() closes the inbox and returns when all that was received is settled; stop() ends the tasks, and start() goes on where
they ended; lose_the_rest() counts what memory loses when the process ends.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import structlog

from zenwatch.contract import Capacity, Clock, Group, Inbox, RecordCache, Records, RecordWriter, Store
from zenwatch.errors import Forbidden, Transient, first_line
from zenwatch.metrics import PUSHED_ROLLED_UP
from zenwatch.model.record import Stored
from zenwatch.model.refs import Origin
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import AccountEntry, Envelope, Outcome, WriteResult
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import LoggedOutcome
from zenwatch.processing.push.attempts import AttemptBuilder, PriorSightings, WriteAttempt
from zenwatch.processing.push.coalescer import Coalescer
from zenwatch.processing.push.in_flight import InFlight
from zenwatch.processing.push.pause import Pause
from zenwatch.processing.push.schedule import WriteSchedule
from zenwatch.processing.rollup import ALWAYS_SCORE, is_rollup, rolled_up
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.watcher import PushWatcher

log = structlog.get_logger(component="push")

# As many as the writer takes at a time by default: they are announced in the spool together.
WRITES_AT_A_TIME = 16

_WHY = {
    Outcome.STORED: "A new record was made of it.",
    Outcome.REPEATED: "It is in the record that was there, and counted there if the tool's repeats count.",
    Outcome.DEAD_LETTERED: "The store refuses it for good: `zenwatch deadletters list` or the log says why.",
}


class PushProcessor:
    group = Group.ROLE

    def __init__(
        self,
        origin: Origin,
        watcher: PushWatcher,
        inbox: Inbox,
        *,
        store: Store,
        records: Records,
        cache: RecordCache,
        writer: RecordWriter,
        accounts: Ledger,
        capacity: Capacity,
        supervisor: Supervisor,
        clock: Clock,
        coalesce_secs: float,
        window_secs: float | None = None,
    ) -> None:
        """coalesce_secs: after a write of a record, how long its next sightings are collected before the next one.
        window_secs: as in AttemptBuilder.
        """
        self._origin = origin
        self._inbox = inbox
        self._records = records
        self._cache = cache
        self._writer = writer
        self._capacity = capacity
        self._supervisor = supervisor
        self._clock = clock
        self._schedule = WriteSchedule(clock, gap_secs=coalesce_secs if watcher.counts_repeats else 0.0)
        self._pending = Coalescer(inbox, self._schedule, counts_repeats=watcher.counts_repeats, recent=watcher.recent)
        self._attempts = AttemptBuilder(store, recent=watcher.recent, window_secs=window_secs)
        self._accounts = accounts
        self._in_flight = InFlight(origin, accounts, is_durable=inbox.is_durable)
        self._pause = Pause(clock)
        inbox.call_when_taken(self._in_flight.accept)

    @property
    def is_busy(self) -> bool:
        return self._in_flight.is_busy

    async def start(self) -> None:
        self._accounts.outcome_log.also_search(self._origin, self.find_in_flight)
        self._supervisor.start(f"push/{self._origin}/write", self.write)
        self._supervisor.start(f"push/{self._origin}/receive", self.receive)

    async def stop(self) -> None:
        await self._supervisor.stop(f"push/{self._origin}/")

    async def drain(self) -> None:
        """What a durable inbox still holds is left in it, for the next start of the process."""
        self._inbox.close()
        self._schedule.flush()
        self._schedule.gap_secs = 0.0
        await self._in_flight.wait_until_idle()

    def lose_the_rest(self) -> None:
        self._in_flight.lose()

    # ------------------------------------------------------------ two tasks

    async def receive(self) -> None:
        """Empty the inbox at once; an event of a record that waits only adds to it."""
        while True:
            queued = await self._inbox.receive()
            if queued.intent is not None and is_rollup(queued.intent.event.name):
                # So it was decided before a crash.
                queued = replace(queued, event=rolled_up(queued.event))
            self._in_flight.receive(queued.sightings)
            if queued.is_new_here:
                self._in_flight.accept(queued.sightings)
            if not self._pending.add(queued):
                self._in_flight.settle(Outcome.REPEATED, queued.sightings)

    async def write(self) -> None:
        """Hand one record after the other to the writer; each has one write in flight at most."""
        await self._records.wait_until_synced()
        while True:
            await self._hand_over(await self._schedule.next(WRITES_AT_A_TIME))

    async def _hand_over(self, names: Sequence[str]) -> None:
        """Build the attempts, announce them together, and submit them. What was not submitted when this ends early is scheduled again."""
        waiting, built = list(names), list[WriteAttempt]()
        try:
            # The writer has retried each write that failed: the others would not succeed now.
            await self._pause.wait()
            while waiting:
                if (attempt := await self._attempt(waiting[0])) is not None:
                    built.append(attempt)
                del waiting[0]
            if intents := [attempt.intent for attempt in built if self._pending.counts(attempt.name)]:
                await self._inbox.intend(intents)
            while built:
                await self._writer.submit(self._envelope(built[0]))
                del built[0]
        finally:
            for name in waiting:
                self._schedule.ask(name)
            for attempt in built:
                self._receive_result(attempt, WriteResult(outcome=None))

    def _envelope(self, attempt: WriteAttempt) -> Envelope:
        intent = attempt.intent
        entry = AccountEntry(self._origin, intent.sightings, intent.event.key, _WHY, is_new=intent.is_new)
        receive, waits = partial(self._receive_result, attempt), partial(self._pending.wait, attempt.name)
        return Envelope(attempt.request, receive, entry, waits=waits, comes_again=False)

    # ------------------------------------------------------------ one record

    async def _attempt(self, name: str) -> WriteAttempt | None:
        """None: there is nothing to write now; where something is left, it is scheduled again."""
        if not self._pending.needs_write(name):
            return None
        stored = await self._records.get(name)
        if stored is not None and not self._pending.counts(name):
            self._finish(name, stored)
            return None
        if stored is None and not self._has_space(name):
            PUSHED_ROLLED_UP.labels(*self._origin).inc(self._pending.roll_up(name))
            return None
        prior = await self._prior_of(name, stored)
        if prior is None:
            self._schedule.ask(name)
            return None
        return self._attempts.next_attempt(self._pending[name], stored, prior)

    async def _prior_of(self, name: str, stored: Stored | None) -> PriorSightings | None:
        """None: the record is gone, or could not be read; try again."""
        try:
            prior = await self._attempts.prior_of(stored)
        except (Transient, Forbidden) as exc:
            self._pause.extend(exc)
            log.warning("record_not_read", source=self._origin.source, name=name, error=first_line(exc))
            return None
        if prior is None:
            self._cache.drop(name)
        return prior

    def _has_space(self, name: str) -> bool:
        """Whether the event may have a new record of its own. A write that was announced keeps its record."""
        pending = self._pending[name]
        return is_rollup(name) or pending.is_busy or pending.event.score >= ALWAYS_SCORE or self._capacity.free_records > 0

    def _finish(self, name: str, stored: Stored) -> None:
        """The same event, sent again: it is stored already."""
        pending = self._pending[name]
        is_ours = pending.unanswered is not None and pending.unanswered.is_stored_as(stored)
        outcome = Outcome.STORED if is_ours else Outcome.REPEATED
        self._accounts.record_outcome(self._origin, pending.event.key, outcome, _WHY[outcome], name=name)
        self._in_flight.settle(outcome, self._pending.finish(name))

    def _receive_result(self, attempt: WriteAttempt, result: WriteResult) -> None:
        pending = self._pending[attempt.name]
        pending.in_flight = pending.is_refused = False
        if result.outcome is not None:
            self._pause.end()
            self._attempts.remember(attempt)
            self._schedule.wrote(attempt.name)
            self._inbox.settle(attempt.intent.carries)
            self._in_flight.forget(attempt.intent.sightings)
        else:
            self._attempts.forget(attempt.name)
            pending.unanswered = attempt.intent
            if not result.is_conflict:
                self._pause.extend()
            elif result.stored is None:
                self._cache.drop(attempt.name)
        if pending.unanswered:
            self._schedule.ask(attempt.name, at_once=True)
        elif pending.sightings:
            self._schedule.ask(attempt.name)
        else:
            self._pending.drop(attempt.name)

    def find_in_flight(self, query: str) -> list[LoggedOutcome]:
        """query: a key or the name of a record."""
        now, source = format_rfc3339(self._clock.now()), self._origin.source
        found = self._pending.find(query)
        return [LoggedOutcome(source, each.event.key, each.event.name, "in_flight", each.describe(), now) for each in found]
