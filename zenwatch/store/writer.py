"""The one way to the store: a bounded queue, a fixed number of workers, and as many writes at once as the store bears.

In: envelopes.  Out: calls to the store. Each answer updates the record cache, goes to the change feed, settles the accounts and returns
through its envelope; what the store refuses for good becomes a dead letter. What a target refuses for the time being waits in the retry
queues, and the writes of other targets do not wait with it.
Owns: the queues. Full means that submit() waits.
Stops: drain() accepts nothing more and returns when the queue is empty and every envelope has its result; stop() ends the workers, and what
is queued waits for the next start().
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass

import structlog
from cachetools import LRUCache

from zenwatch.contract import Accounts, ChangeFeed, Clock, DeadLetters, Group, RecordCache, Store
from zenwatch.errors import Closed, Conflict, Denied, Forbidden, NotFound, Permanent, Transient, ZenwatchError, first_line
from zenwatch.log import OncePerMessage
from zenwatch.metrics import RECORD_WRITE_RETRIES, RECORD_WRITE_SECONDS
from zenwatch.model.queue import DeadLetter
from zenwatch.model.status import RefusedWrites
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Delete, Envelope, Outcome, Upsert, WriteRequest, WriteResult
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.adaptive_limit import AdaptiveLimiter, Permit
from zenwatch.store.fair_queue import FairQueue
from zenwatch.store.retry_queue import REFUSALS, Progress, RefusedWrite, RetryQueues
from zenwatch.store.steps import Steps, StoreConflict

log = structlog.get_logger(component="writer")

# Tries per write before the result says "not settled": with back-off about 4 s, so that a restarting API server is noticed
# by few writes and a short 429 by none. The submitter tries again later.
TRIES = 4
# The longest pause between two tries.
LONGEST_PAUSE_SECS = 5.0
# A try that takes longer, while others succeed, hangs because of its target: an admission webhook may answer after 10 s, or never.
HANGS_AFTER_SECS = 1.0
# Of the workers, so many more than WRITE_CONCURRENCY are kept for targets that have none, and as many try again what was refused.
RESERVE_PART = 4
# Workers that may hang beside the others, in multiples of WRITE_CONCURRENCY. An idle one costs 2 KiB.
HANGING_TIMES = 2
LOOK_FOR_OLD_SECS = 10.0
# So soon after a failure of the store a missing permission may be none. A guess: an API server needs a second or two.
JUST_BACK_SECS = 15.0
TARGETS_REMEMBERED = 16
# What is no write has no target.
NO_TARGET = ""


def most_requests(concurrency: int) -> int:
    """How many requests to the store a writer has under way at most."""
    return concurrency * (1 + HANGING_TIMES) + 2 * max(1, concurrency // RESERVE_PART)


@dataclass(frozen=True)
class WriterServices:
    """Where the results of writes go."""

    records: RecordCache
    changes: ChangeFeed
    accounts: Accounts
    dead_letters: DeadLetters


@dataclass(eq=False)
class _Write:
    """One envelope in the hands of a worker. permit: of the try that goes on; None between two tries. timer: looks whether it hangs."""

    target: str
    envelope: Envelope
    progress: Progress
    permit: Permit | None = None
    timer: asyncio.TimerHandle | None = None
    hangs: bool = False

    @property
    def request(self) -> WriteRequest:
        return self.envelope.request


class Writer:
    """contract.RecordWriter."""

    group = Group.ALWAYS

    def __init__(
        self,
        store: Store,
        services: WriterServices,
        supervisor: Supervisor,
        *,
        clock: Clock,
        concurrency: int,
        dead_letter_after_secs: float = 600.0,
        hangs_after_secs: float = HANGS_AFTER_SECS,
    ) -> None:
        """concurrency: the most writes at the same time; the queue holds twice as many. dead_letter_after_secs: how long an event that no
        submitter has any more waits for a target that refuses it.
        """
        self._store = store
        self._services = services
        self._supervisor = supervisor
        self._clock = clock
        self._concurrency = concurrency
        self._dead_letter_after_secs = dead_letter_after_secs
        self._hangs_after_secs = hangs_after_secs
        self._reserve = max(1, concurrency // RESERVE_PART)
        self._limiter = AdaptiveLimiter(clock, most=concurrency, reserve=self._reserve)
        self._queue = FairQueue(most_busy=concurrency, reserve=self._reserve, capacity=2 * concurrency)
        self._retries = RetryQueues(clock, services.dead_letters, slow_secs=hangs_after_secs)
        self._steps = Steps(store, services.records, services.changes, clock)
        self._is_closed, self._may_wait = False, True
        self._logged = OncePerMessage()
        self._never = asyncio.Event()
        # When the last quick try of each target began: others that hang since then do so because of their own target.
        self._quick_since: LRUCache[str, float] = LRUCache(maxsize=TARGETS_REMEMBERED)
        self._hanging = 0
        self._away_at_secs = float("-inf")
        self._is_ping_wanted = asyncio.Event()
        # The last write that was given up was followed by no success.
        self.is_failing = False

    async def start(self) -> None:
        self._is_closed, self._may_wait = False, True
        for worker in range(self._concurrency * (1 + HANGING_TIMES) + self._reserve):
            self._supervisor.start(f"write/{worker}", self.work)
        for worker in range(self._reserve):
            self._supervisor.start(f"write/retry/{worker}", self.retry)
        self._supervisor.start("write/old", self.give_up_old)
        self._supervisor.start("write/ping", self.ping)

    async def stop(self) -> None:
        await self._supervisor.stop("write/")

    async def submit(self, envelope: Envelope) -> None:
        if self._is_closed:
            raise Closed("the writer accepts nothing more")
        await self._queue.put(self._target_of(envelope.request), envelope)

    async def drain(self) -> None:
        self._is_closed = True
        await self.stop_waiting()
        await self._queue.join()

    async def stop_waiting(self) -> None:
        """From now on nothing waits for a target that refuses: what nobody submits again becomes a dead letter."""
        self._may_wait = False
        for write in self._retries.close():
            await self._give_up(write)

    def refused(self) -> Sequence[RefusedWrites]:
        """What waits for targets that refuse writes for the time being, the longest refused first."""
        return self._retries.refused()

    # ------------------------------------------------------------ workers

    async def work(self) -> None:
        """One worker."""
        while True:
            target, envelope = await self._queue.get()
            write = _Write(target, envelope, Progress(envelope.request.stored))
            result: WriteResult | None = WriteResult(outcome=None)
            started = self._clock.monotonic_secs()
            try:
                result = await self._settle(write)
            finally:
                # Also when this worker is cancelled or fails: an envelope without a result would block its record for ever.
                RECORD_WRITE_SECONDS.observe(self._clock.monotonic_secs() - started)
                try:
                    if result is not None:
                        self._report(envelope, result)
                finally:
                    if write.hangs:
                        self._hanging -= 1
                        self._retries.tried(target)
                    self._queue.done(target, was_detached=write.hangs)

    async def retry(self) -> None:
        """One worker for what was refused."""
        while True:
            refused = await self._retries.next()
            result: WriteResult | None = WriteResult(outcome=None, is_refused=True)
            try:
                result = await self._try_again(refused)
            finally:
                self._retries.tried(refused.target)
                if result is not None:
                    self._report(refused.envelope, result)

    async def give_up_old(self) -> None:
        """Make dead letters of the events that wait for too long, and that nobody submits again."""
        while True:
            await self._clock.wait(self._never, timeout_secs=min(LOOK_FOR_OLD_SECS, self._dead_letter_after_secs))
            for write in self._retries.overdue(self._dead_letter_after_secs):
                await self._give_up(write)

    async def ping(self) -> None:
        """Where a write hangs and no other is answered meanwhile, ask the store for something else."""
        while True:
            await self._is_ping_wanted.wait()
            self._is_ping_wanted.clear()
            began_secs = self._clock.monotonic_secs()
            with suppress(ZenwatchError):
                await self._store.ping()
                self._note_quick(NO_TARGET, began_secs)

    def _report(self, envelope: Envelope, result: WriteResult) -> None:
        if result.outcome is not None and envelope.entry is not None:
            self._services.accounts.settle_write(envelope.entry, result.outcome, envelope.request.name)
        envelope.done(result)

    def _target_of(self, request: WriteRequest) -> str:
        if isinstance(request, Upsert) and request.stored is None:
            return self._store.target_of(request.event)
        return request.stored.namespace if request.stored else ""

    # ------------------------------------------------------------ one request, tried several times

    async def _settle(self, write: _Write) -> WriteResult | None:
        """None: the write waits for its target, and its result comes later."""
        if self._retries.is_blocked(write.target) and (write.envelope.waits or not self._retries.may_probe(write.target)):
            return await self._wait(RefusedWrite(write.target, write.envelope, write.progress, self._clock.monotonic_secs()))
        attempt = 1
        while True:
            began_secs = self._clock.monotonic_secs()
            answer = await self._take_steps(write.envelope, write.progress, self._permit(write))
            if isinstance(answer, WriteResult):
                self._note_success(write.target, answer, began_secs)
                return answer
            # An API server that has just started does not know the roles yet.
            is_too_early = isinstance(answer, Forbidden) and began_secs - self._away_at_secs < JUST_BACK_SECS
            if (isinstance(answer, REFUSALS) and not is_too_early) or write.hangs:
                refused = RefusedWrite(write.target, write.envelope, write.progress, began_secs, is_announced=write.hangs)
                return await self._refuse(refused, answer, began_secs)
            if self._is_closed or attempt == TRIES:
                log.warning("record_not_written", name=write.request.name, source=write.request.source, error=first_line(answer))
                self.is_failing = True
                return WriteResult(outcome=None)
            RECORD_WRITE_RETRIES.inc()
            if isinstance(answer, Transient):
                self._away_at_secs = self._clock.monotonic_secs()
            if not isinstance(answer, Conflict):
                await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, answer, cap_secs=LONGEST_PAUSE_SECS))
            attempt += 1

    async def _try_again(self, refused: RefusedWrite) -> WriteResult | None:
        began_secs = self._clock.monotonic_secs()
        answer = await self._take_steps(refused.envelope, refused.progress, nullcontext())
        if isinstance(answer, WriteResult):
            self._note_success(refused.target, answer, began_secs)
            return answer
        RECORD_WRITE_RETRIES.inc()
        if not isinstance(answer, REFUSALS) and not self._others_succeeded_since(began_secs, refused.target):
            # The store itself is away.
            self._retries.postpone(refused)
            return await self._wait(refused)
        return await self._refuse(refused, answer, began_secs)

    async def _refuse(self, refused: RefusedWrite, error: ZenwatchError, began_secs: float) -> WriteResult | None:
        self._retries.refuse(refused, error, took_secs=self._clock.monotonic_secs() - began_secs)
        return await self._wait(refused)

    async def _wait(self, refused: RefusedWrite) -> WriteResult | None:
        """None: it waits, or its result was reported."""
        if refused.envelope.waits is None:
            return WriteResult(None, is_refused=True)
        if not refused.is_announced:
            refused.is_announced = True
            refused.envelope.waits()
        given_up = self._retries.without_space(refused) if self._may_wait else refused
        if given_up is not None:
            await self._give_up(given_up)
        if given_up is not refused:
            self._retries.add(refused)
        return None

    async def _give_up(self, refused: RefusedWrite) -> None:
        """What its submitter has still ends without a result, any other event as a dead letter that comes back."""
        result, request = WriteResult(None, is_refused=True), refused.envelope.request
        try:
            if not refused.envelope.comes_again and isinstance(request, Upsert):
                reason = refused.error or self._retries.error_of(refused.target)
                await self._put_letter(refused.envelope, request, reason, refused.target)
                self._retries.letter_written(refused.target)
                result = WriteResult(Outcome.DEAD_LETTERED)
        finally:
            self._report(refused.envelope, result)

    async def _take_steps(
        self, envelope: Envelope, progress: Progress, permit: AbstractAsyncContextManager[object]
    ) -> WriteResult | ZenwatchError:
        """The result, or why the request has to be tried again."""
        request = envelope.request
        try:
            # A permit is for one try: whoever waits to try again leaves it to others.
            async with permit:
                await self._steps.take(request, progress)
        except StoreConflict as conflict:
            self._services.records.put(conflict.stored)
            return WriteResult(None, conflict.stored, is_conflict=True)
        except (NotFound, Conflict) as exc:
            return self._changed_by_others(request, progress, exc)
        except (Transient, Denied, Forbidden) as exc:
            return exc
        except Permanent as exc:
            return await self._refused_for_good(envelope, exc)
        self._logged.clear()
        self.is_failing = False
        return WriteResult(progress.outcome, progress.stored)

    def _changed_by_others(self, request: WriteRequest, progress: Progress, error: NotFound | Conflict) -> WriteResult | ZenwatchError:
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

    async def _refused_for_good(self, envelope: Envelope, refusal: Permanent) -> WriteResult:
        if not isinstance(envelope.request, Upsert):
            if self._logged.is_new(sentence := first_line(refusal)):
                log.error("status_refused", error=sentence)
            return WriteResult(outcome=None)
        # Before the result: once the event is settled, nobody else has it.
        await self._put_letter(envelope, envelope.request, first_line(refusal))
        return WriteResult(Outcome.DEAD_LETTERED)

    async def _put_letter(self, envelope: Envelope, request: Upsert, reason: str, target: str = "") -> None:
        sightings = envelope.entry.findings if envelope.entry else 1
        await self._services.dead_letters.put(DeadLetter(request.event, reason, format_rfc3339(self._clock.now()), target, sightings))

    # ------------------------------------------------------------ tries that hang

    @asynccontextmanager
    async def _permit(self, write: _Write) -> AsyncIterator[None]:
        async with self._limiter.permit(write.target) as permit:
            write.permit = permit
            self._look_later(write)
            try:
                yield
            finally:
                if write.timer is not None:
                    write.timer.cancel()
                write.permit = None

    def _look_later(self, write: _Write) -> None:
        write.timer = asyncio.get_running_loop().call_later(self._hangs_after_secs, self._look_at, write)

    def _look_at(self, write: _Write) -> None:
        """The try takes long. Where others succeed meanwhile, its target hangs: it holds up nobody from now on."""
        if write.permit is None or write.hangs or write.permit.began_secs is None:
            return
        is_full = self._hanging >= HANGING_TIMES * self._concurrency
        if is_full or not self._others_succeeded_since(write.permit.began_secs, write.target):
            self._look_later(write)
            self._is_ping_wanted.set()
            return
        write.hangs = True
        self._hanging += 1
        write.permit.detach()
        self._queue.detach(write.target)
        if write.envelope.waits is not None:
            write.envelope.waits()
        self._retries.hang(write.target, f"a write has had no answer for {self._hangs_after_secs:g} s, while others were answered")

    def _note_success(self, target: str, result: WriteResult, began_secs: float) -> None:
        if result.outcome not in (Outcome.STORED, Outcome.REPEATED):
            return
        self._retries.succeed(target, took_secs=self._note_quick(target, began_secs))

    def _note_quick(self, target: str, began_secs: float) -> float:
        """Return how long it took."""
        took_secs = self._clock.monotonic_secs() - began_secs
        if took_secs < self._hangs_after_secs:
            self._quick_since[target] = began_secs
        return took_secs

    def _others_succeeded_since(self, began_secs: float, target: str) -> bool:
        return any(since >= began_secs for other, since in self._quick_since.items() if other != target)
