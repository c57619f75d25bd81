"""The one way to the store: a bounded queue, a fixed number of workers, and as many writes at once as the store bears.

In: envelopes.  Out: calls to the store; a receipt through every envelope; a dead letter for what the store refuses for good.
Owns: the queue. Full means that submit() waits.
Stops: drain() takes nothing more and returns when the queue is empty and every receipt was given.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from zenwatch.contract import Clock, DeadLetters, Store
from zenwatch.errors import Closed, Conflict, Forbidden, NotFound, Permanent, Transient, ZenwatchError, first_line
from zenwatch.log import OncePerMessage
from zenwatch.metrics import RECORD_WRITE_RETRIES, RECORD_WRITE_SECONDS, RECORDS_REOPENED, RECORDS_RESOLVED
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter
from zenwatch.model.record import Status, Stored
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Delete, Envelope, Outcome, SetStatus, Upsert, WriteRequest, WriteResult
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.store.adaptive_limit import AdaptiveLimiter

log = structlog.get_logger(component="writer")

# Tries per write before the receipt says "not settled": with back-off about 4 s, so that a restarting API server is noticed
# by few writes and a short 429 by none. The source tries again at its next round.
TRIES = 4


@dataclass
class _Progress:
    """How far one write got: a step that succeeded is not repeated when a later one fails."""

    stored: Stored | None
    outcome: Outcome = Outcome.REPEATED
    creates: int = 0


class _StoreConflict(Exception):  # noqa: N818  no error: the submitter decides anew
    """An exact write met something else than it was made for."""

    def __init__(self, stored: Stored | None) -> None:
        super().__init__()
        self.stored = stored


class _LoggedDeadLetters:
    """contract.DeadLetters for a writer that was given none: a line in the log."""

    async def put(self, letter: DeadLetter) -> None:
        event = letter.event
        log.error("dead_letter", source=event.source, name=event.name, key=event.key, reason=letter.reason)


class Writer:
    def __init__(
        self, store: Store, *, queue_writes: int, clock: Clock, concurrency: int | None = None, dead_letters: DeadLetters | None = None
    ) -> None:
        """concurrency: writes at the same time at most, as many as there are workers; by default as many as the queue holds.
        dead_letters: by default lines in the log.
        """
        self._store = store
        self._clock = clock
        self._dead_letters = _LoggedDeadLetters() if dead_letters is None else dead_letters
        self._limiter = AdaptiveLimiter(clock, most=concurrency or queue_writes)
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue(maxsize=queue_writes)
        self._closed = False
        self._logged = OncePerMessage()
        # The last write that was given up was followed by no success.
        self.is_failing = False
        self._on_new: list[Callable[[Event, Stored], None]] = []
        self._never = asyncio.Event()

    def call_when_new(self, call: Callable[[Event, Stored], None]) -> None:
        """call(event, stored) for every record that is created, at once."""
        self._on_new.append(call)

    async def submit(self, envelope: Envelope) -> None:
        if self._closed:
            raise Closed("the writer takes nothing more")
        await self._queue.put(envelope)

    async def drain(self) -> None:
        self._closed = True
        await self._queue.join()

    async def work(self) -> None:
        """One worker: runtime/app.py starts WRITE_CONCURRENCY of them."""
        while True:
            envelope = await self._queue.get()
            receipt = WriteResult(outcome=None)
            started = self._clock.monotonic_secs()
            try:
                receipt = await self._settle(envelope.request)
            finally:
                # Also when this worker is cancelled or fails: an envelope without a receipt would block its name for ever.
                RECORD_WRITE_SECONDS.observe(self._clock.monotonic_secs() - started)
                try:
                    envelope.done(receipt)
                finally:
                    self._queue.task_done()

    async def _settle(self, order: WriteRequest) -> WriteResult:
        attempt, progress = 1, _Progress(order.stored)
        while True:
            tried = await self._try(order, progress)
            if isinstance(tried, WriteResult):
                return tried
            if self._closed or attempt == TRIES:
                log.warning("record_not_written", name=order.name, source=order.source, error=first_line(tried))
                self.is_failing = True
                return WriteResult(outcome=None)
            RECORD_WRITE_RETRIES.inc()
            if not isinstance(tried, Conflict):
                await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, tried, cap_secs=5.0))
            attempt += 1

    async def _try(self, order: WriteRequest, progress: _Progress) -> WriteResult | ZenwatchError:  # noqa: PLR0911  one for each way it can end
        """The receipt, or why it has to be tried again."""
        try:
            # A turn is one try: who waits to try again leaves it to others.
            async with self._limiter.permit():
                await self._do(order, progress)
        except _StoreConflict as surprise:
            return WriteResult(None, surprise.stored, is_conflict=True)
        except NotFound as exc:
            if isinstance(order, Delete):
                return WriteResult(Outcome.STORED)
            # Somebody deleted the record while we changed it: what was found is still there, so make it anew.
            progress.stored = None
            return exc if isinstance(order, Upsert) and not order.is_exact else WriteResult(None, None, is_conflict=True)
        except Conflict as exc:
            # It is not what we took it for: create() tells what it is.
            progress.stored = None
            return exc if isinstance(order, Upsert) else WriteResult(None, None, is_conflict=True)
        except Transient as exc:
            return exc
        except Forbidden as exc:
            self._log_once(exc)
            self.is_failing = True
            return WriteResult(outcome=None)
        except Permanent as exc:
            return await self._give_up(order, exc)
        self._logged.clear()
        self.is_failing = False
        return WriteResult(progress.outcome, progress.stored)

    async def _do(self, order: WriteRequest, progress: _Progress) -> None:
        match order:
            case Upsert():
                await self._advance(order, progress)
            case SetStatus(stored, status):
                await self._bring_to(status, progress, stored)
            case Delete(stored):
                await self._store.delete(stored)
                progress.stored = None

    async def _advance(self, write: Upsert, progress: _Progress) -> None:
        if progress.stored is None:
            progress.creates += 1
            stored, is_new = await self._store.create(write.event, spec_hash=write.spec_hash, report=write.report)
            # The answer to an earlier try may have been lost on its way: a record that says just this is then our own.
            is_new = is_new or (progress.creates > 1 and stored.spec_hash == write.spec_hash)
            if write.is_exact and not is_new:
                raise _StoreConflict(stored)
            progress.stored = stored
            if is_new:
                progress.outcome = Outcome.STORED
                for call in self._on_new:
                    call(write.event, stored)
        if progress.stored.spec_hash != write.spec_hash:
            progress.stored = await self._store.update(write.event, spec_hash=write.spec_hash, stored=progress.stored, report=write.report)
            progress.outcome = Outcome.STORED
        await self._bring_to(write.status.rebased_on(progress.stored), progress, progress.stored)

    async def _bring_to(self, status: Status, progress: _Progress, before: Stored) -> None:
        if status.matches(before):
            return
        progress.stored = after = await self._store.set_status(before, status, now=self._clock.now())
        if after.is_resolved and not before.is_resolved:
            RECORDS_RESOLVED.labels(after.source, status.reason or "").inc()
        RECORDS_REOPENED.labels(after.source).inc(max(after.reopened - before.reopened, 0))

    async def _give_up(self, order: WriteRequest, refusal: Permanent) -> WriteResult:
        if not isinstance(order, Upsert):
            self._log_once(refusal)
            return WriteResult(outcome=None)
        # Before the receipt: once the event is settled, nobody else has it.
        await self._dead_letters.put(DeadLetter(order.event, first_line(refusal), format_rfc3339(self._clock.now())))
        return WriteResult(Outcome.DEAD_LETTERED)

    def _log_once(self, refusal: Permanent) -> None:
        """A missing permission meets every write: one line says as much as a thousand."""
        sentence = first_line(refusal)
        if self._logged.is_new(sentence):
            if isinstance(refusal, Forbidden):
                log.error("permission_missing", error=sentence)
            else:
                log.error("status_refused", error=sentence)
