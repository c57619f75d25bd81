"""The one way to the store: a bounded queue, a fixed number of workers, and as many writes at once as the store bears.

In: envelopes.  Out: calls to the store. Each answer updates the record cache, goes to the change feed, settles the accounts and returns
through its envelope; what the store refuses for good becomes a dead letter.
Owns: the queue. Full means that submit() waits.
Stops: drain() accepts nothing more and returns when the queue is empty and every envelope has its result; stop() ends the workers, and what
is queued waits for the next start().
"""

import asyncio
from dataclasses import dataclass

import structlog

from zenwatch.contract import Accounts, ChangeFeed, Clock, DeadLetters, Group, RecordCache, Store
from zenwatch.errors import Closed, Conflict, Forbidden, NotFound, Permanent, Transient, ZenwatchError, first_line
from zenwatch.metrics import RECORD_WRITE_RETRIES, RECORD_WRITE_SECONDS, RECORDS_REOPENED, RECORDS_RESOLVED
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter
from zenwatch.model.record import Status, Stored
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Delete, Envelope, Outcome, SetStatus, Upsert, WriteRequest, WriteResult
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.adaptive_limit import AdaptiveLimiter

log = structlog.get_logger(component="writer")

# Tries per write before the result says "not settled": with back-off about 4 s, so that a restarting API server is noticed
# by few writes and a short 429 by none. The submitter tries again later.
TRIES = 4
# The longest pause between two tries.
LONGEST_PAUSE_SECS = 5.0


@dataclass
class _Progress:
    """How far one write got: a step that succeeded is not repeated when a later step fails."""

    stored: Stored | None
    outcome: Outcome = Outcome.REPEATED
    creates: int = 0


class _StoreConflict(Exception):  # noqa: N818  no error: the submitter decides anew
    """An exact write met something else than it was made for."""

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        self.stored = stored


class LoggedDeadLetters:
    """contract.DeadLetters without a spool: a line in the log."""

    async def put(self, letter: DeadLetter) -> None:
        event = letter.event
        log.error("dead_letter", source=event.source, name=event.name, key=event.key, reason=letter.reason)


@dataclass(frozen=True)
class WriterServices:
    """Where the results of writes go."""

    records: RecordCache
    changes: ChangeFeed
    accounts: Accounts
    dead_letters: DeadLetters


class Writer:
    """contract.RecordWriter."""

    group = Group.ALWAYS

    def __init__(self, store: Store, services: WriterServices, supervisor: Supervisor, *, clock: Clock, concurrency: int) -> None:
        """concurrency: the most writes at the same time; the queue holds twice as many."""
        self._store = store
        self._services = services
        self._supervisor = supervisor
        self._clock = clock
        self._concurrency = concurrency
        self._limiter = AdaptiveLimiter(clock, most=concurrency)
        self._queue: asyncio.Queue[Envelope] = asyncio.Queue(maxsize=2 * concurrency)
        self._is_closed = False
        self._logged: set[str] = set()
        self._never = asyncio.Event()
        # The last write that was given up was followed by no success.
        self.is_failing = False

    async def start(self) -> None:
        self._is_closed = False
        for worker in range(self._concurrency):
            self._supervisor.start(f"write/{worker}", self.work)

    async def stop(self) -> None:
        await self._supervisor.stop("write/")

    async def submit(self, envelope: Envelope) -> None:
        if self._is_closed:
            raise Closed("the writer accepts nothing more")
        await self._queue.put(envelope)

    async def drain(self) -> None:
        self._is_closed = True
        await self._queue.join()

    async def work(self) -> None:
        """One worker."""
        while True:
            envelope = await self._queue.get()
            result = WriteResult(outcome=None)
            started = self._clock.monotonic_secs()
            try:
                result = await self._settle(envelope.request)
            finally:
                # Also when this worker is cancelled or fails: an envelope without a result would block its record for ever.
                RECORD_WRITE_SECONDS.observe(self._clock.monotonic_secs() - started)
                try:
                    self._report(envelope, result)
                finally:
                    self._queue.task_done()

    def _report(self, envelope: Envelope, result: WriteResult) -> None:
        if result.outcome is not None and envelope.entry is not None:
            self._services.accounts.settle_write(envelope.entry, result.outcome, envelope.request.name)
        envelope.done(result)

    # ------------------------------------------------------------ one request, tried several times

    async def _settle(self, request: WriteRequest) -> WriteResult:
        attempt, progress = 1, _Progress(request.stored)
        while True:
            result = await self._try(request, progress)
            if isinstance(result, WriteResult):
                return result
            if self._is_closed or attempt == TRIES:
                log.warning("record_not_written", name=request.name, source=request.source, error=first_line(result))
                self.is_failing = True
                return WriteResult(outcome=None)
            RECORD_WRITE_RETRIES.inc()
            if not isinstance(result, Conflict):
                await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, result, cap_secs=LONGEST_PAUSE_SECS))
            attempt += 1

    async def _try(self, request: WriteRequest, progress: _Progress) -> WriteResult | ZenwatchError:
        """The result, or why the request has to be tried again."""
        try:
            # A permit is for one try: whoever waits to try again leaves it to others.
            async with self._limiter.permit():
                await self._execute(request, progress)
        except _StoreConflict as conflict:
            self._services.records.put(conflict.stored)
            return WriteResult(None, conflict.stored, is_conflict=True)
        except (NotFound, Conflict) as exc:
            return self._changed_by_others(request, progress, exc)
        except Transient as exc:
            return exc
        except Permanent as exc:
            return await self._refused(request, exc)
        self._logged.clear()
        self.is_failing = False
        return WriteResult(progress.outcome, progress.stored)

    def _changed_by_others(self, request: WriteRequest, progress: _Progress, error: NotFound | Conflict) -> WriteResult | ZenwatchError:
        """The record was changed or deleted meanwhile. An Upsert starts again with a create, which shows what the store has."""
        progress.stored = None
        is_gone = isinstance(error, NotFound)
        if is_gone:
            self._services.records.drop(request.name)
            if isinstance(request, Delete):
                return WriteResult(Outcome.STORED)
        # What was found is still there, so the record is made anew; an exact request was computed for a record that is gone.
        if isinstance(request, Upsert) and not (is_gone and request.is_exact):
            return error
        return WriteResult(None, None, is_conflict=True)

    async def _refused(self, request: WriteRequest, refusal: Permanent) -> WriteResult:
        if isinstance(refusal, Forbidden) or not isinstance(request, Upsert):
            self._log_once(refusal)
            self.is_failing = self.is_failing or isinstance(refusal, Forbidden)
            return WriteResult(outcome=None)
        # Before the result: once the event is settled, nobody else has it.
        await self._services.dead_letters.put(DeadLetter(request.event, first_line(refusal), format_rfc3339(self._clock.now())))
        return WriteResult(Outcome.DEAD_LETTERED)

    # ------------------------------------------------------------ the steps of a request

    async def _execute(self, request: WriteRequest, progress: _Progress) -> None:
        match request:
            case Upsert():
                await self._upsert(request, progress)
            case SetStatus(stored, status):
                await self._set_status(status, progress, stored)
            case Delete(stored):
                await self._store.delete(stored)
                progress.stored, progress.outcome = None, Outcome.STORED
                self._services.records.drop(stored.name)
                self._services.changes.append(stored, None, None)

    async def _upsert(self, request: Upsert, progress: _Progress) -> None:
        stored = progress.stored if progress.stored is not None else await self._create(request, progress)
        if stored.spec_hash != request.spec_hash or stored.is_edited:
            updated = await self._store.update(request.event, spec_hash=request.spec_hash, stored=stored, report=request.report)
            progress.outcome = Outcome.STORED
            stored = self._confirmed(progress, stored, updated, request.event)
        await self._set_status(request.status.rebased_on(stored), progress, stored)

    async def _create(self, request: Upsert, progress: _Progress) -> Stored:
        progress.creates += 1
        stored, is_new = await self._store.create(request.event, spec_hash=request.spec_hash, report=request.report)
        # The answer to an earlier try may have been lost on its way: a record with the same spec is then our own.
        is_new = is_new or (progress.creates > 1 and stored.spec_hash == request.spec_hash)
        if request.is_exact and not is_new:
            raise _StoreConflict(stored)
        if is_new:
            progress.outcome = Outcome.STORED
            return self._confirmed(progress, None, stored, request.event)
        progress.stored = stored
        self._services.records.put(stored)
        return stored

    async def _set_status(self, status: Status, progress: _Progress, before: Stored) -> None:
        if status.matches(before):
            return
        after = self._confirmed(progress, before, await self._store.set_status(before, status, now=self._clock.now()), None)
        if after.is_resolved and not before.is_resolved:
            RECORDS_RESOLVED.labels(*after.origin, status.reason or "").inc()
        RECORDS_REOPENED.labels(*after.origin).inc(max(after.reopened - before.reopened, 0))

    def _confirmed(self, progress: _Progress, before: Stored | None, after: Stored, event: Event | None) -> Stored:
        """The store has the step: whoever asks or reads the feed knows it from now on."""
        progress.stored = after
        self._services.records.put(after)
        self._services.changes.append(before, after, event)
        return after

    def _log_once(self, refusal: Permanent) -> None:
        """A missing permission meets every write: one line is enough."""
        sentence = first_line(refusal)
        if sentence not in self._logged:
            self._logged.add(sentence)
            if isinstance(refusal, Forbidden):
                log.error("permission_missing", error=sentence)
            else:
                log.error("status_refused", error=sentence)
