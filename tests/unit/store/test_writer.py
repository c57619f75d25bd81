"""zenwatch/store/writer.py: every envelope has one result, whatever the store does."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.builders.findings import an_event
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.dead_letters import ListedLetters
from tests.support.pipelines.core import a_core
from tests.support.tasks import background, patience, until
from zenwatch.errors import Closed, Forbidden, Invalid, Transient
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter
from zenwatch.model.record import Status, Stored, spec_hash
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Envelope, Outcome, Upsert, WriteResult
from zenwatch.store.writer import TRIES

AWAY = Transient("the store is away")


class Desk:
    """A writer with one worker and a clock that skips every wait."""

    def __init__(self, *, concurrency: int = 5, clock: FakeClock | None = None, logs_dead_letters: bool = False) -> None:
        self.letters = ListedLetters()
        self.core = a_core(concurrency=concurrency, clock=clock, dead_letters=None if logs_dead_letters else self.letters)
        self.store, self.clock, self.writer = self.core.store, self.core.clock, self.core.writer
        self.results: list[WriteResult] = []

    def envelope(self, event: Event | None = None, *, count: int = 1, stored: Stored | None = None) -> Envelope:
        event = event or an_event()
        return Envelope(Upsert(event, spec_hash(event), Status(count=count), stored), self.results.append)

    async def result(self, *args: Any, **kwargs: Any) -> WriteResult:
        """Submit, and return the result."""
        await self.writer.submit(self.envelope(*args, **kwargs))
        async with background(self.writer.work):
            await until(lambda: bool(self.results))
        return self.results.pop()


async def test_a_new_record_is_created() -> None:
    """One write, and the result holds what is stored now."""
    desk = Desk()

    result = await desk.result()

    assert result == WriteResult(Outcome.STORED, desk.store.stored(an_event().name))
    assert desk.store.operations() == ["create"]


async def test_a_count_above_one_is_a_second_write() -> None:
    """The count lives in the status, which a create cannot set."""
    desk = Desk()

    result = await desk.result(count=2)

    assert (result.outcome, desk.store.stored(an_event().name).count) == (Outcome.STORED, 2)
    assert desk.store.operations() == ["create", "set_status"]


async def test_a_record_that_another_replica_stored_is_repeated() -> None:
    """The same content was there already."""
    desk = Desk()
    await desk.store.create(an_event(), spec_hash=spec_hash(an_event()))

    assert (await desk.result()).outcome is Outcome.REPEATED


async def test_a_record_with_another_spec_is_updated() -> None:
    """Also if only the create shows that the record exists."""
    desk = Desk()
    await desk.store.create(an_event(title="old"), spec_hash="old")

    result = await desk.result()

    assert result.outcome is Outcome.STORED
    assert desk.store.operations() == ["create", "create", "update"]
    assert [spec["title"] for spec in desk.store.specs()] == [an_event().title]


async def test_a_known_record_is_updated_without_a_create() -> None:
    """What the mirror knows saves a request."""
    desk = Desk()
    stored, _ = await desk.store.create(an_event(title="old"), spec_hash="old")

    await desk.result(stored=stored)

    assert desk.store.operations() == ["create", "update"]


async def test_a_record_that_is_gone_is_created_again() -> None:
    """Somebody deleted it before the update: its finding is still there."""
    desk = Desk()
    stored, _ = await desk.store.create(an_event(title="old"), spec_hash="old")
    desk.store.remove(stored.name)

    result = await desk.result(stored=stored)

    assert result == WriteResult(Outcome.STORED, desk.store.stored(stored.name))


# ---------------------------------------------------------------- failures


async def test_a_transient_failure_is_retried_after_longer_waits() -> None:
    """0.5 s doubling, jittered by half."""
    desk = Desk()
    desk.store.fail_next(TRIES - 1, AWAY)

    assert (await desk.result()).outcome is Outcome.STORED

    assert len(desk.store.calls) == TRIES
    for wait_secs, longest_secs in zip(desk.clock.waits, (0.5, 1.0, 2.0), strict=True):
        assert longest_secs / 2 <= wait_secs <= longest_secs


async def test_the_store_may_set_the_wait() -> None:
    """429 with Retry-After."""
    desk = Desk()
    desk.store.fail_next(1, Transient("429", retry_after_secs=17.0))

    await desk.result()

    assert desk.clock.waits == [17.0]


async def test_after_four_tries_the_write_is_not_settled() -> None:
    """The submitter tries again later; the worker is free for others."""
    desk = Desk()
    desk.store.fail_next(TRIES, AWAY)

    assert await desk.result() == WriteResult(None)

    assert len(desk.store.calls) == TRIES


async def test_a_record_made_before_a_failure_counts_as_stored() -> None:
    """The first try created it, and failed at the count: nobody else created it."""
    desk = Desk()
    desk.store.fail_next(1, AWAY, of="set_status")

    result = await desk.result(count=2)

    assert (result.outcome, desk.store.stored(an_event().name).count) == (Outcome.STORED, 2)


async def test_a_refused_record_becomes_a_dead_letter() -> None:
    """It can never be stored; the letter holds the sentence of the store."""
    desk = Desk()
    desk.store.fail_next(1, Invalid("422: spec.title: too long"))

    assert await desk.result() == WriteResult(Outcome.DEAD_LETTERED)

    assert desk.letters.letters == [DeadLetter(an_event(), "422: spec.title: too long", format_rfc3339(desk.clock.now()))]
    assert desk.clock.waits == []


async def test_the_dead_letter_is_kept_before_the_result_is_reported() -> None:
    """The receiver of the result forgets the event; a crash in between must not lose it."""
    desk = Desk()
    desk.store.fail_next(1, Invalid("422"))
    desk.letters.hold()
    await desk.writer.submit(desk.envelope())

    async with background(desk.writer.work):
        await until(lambda: desk.letters.is_asked)
        assert desk.results == []

    assert desk.results == [WriteResult(None)]


async def test_without_a_spool_the_log_names_dead_letters() -> None:
    """With the key, by which a person finds the report of the tool."""
    desk = Desk(logs_dead_letters=True)
    desk.store.fail_next(1, Invalid("422: too long"))

    with capture_logs() as lines:
        assert await desk.result() == WriteResult(Outcome.DEAD_LETTERED)

    assert [(line["event"], line["key"], line["reason"]) for line in lines] == [("dead_letter", an_event().key, "422: too long")]


async def test_a_missing_permission_is_logged_once() -> None:
    """It concerns every write, so one line is enough. The write is neither retried nor settled."""
    desk = Desk()
    refusal = Forbidden("missing permission: create zenagentevents.zen.kube-zen.io in namespace default")
    desk.store.fail_next(2, refusal)

    with capture_logs() as lines:
        results = [await desk.result() for _ in range(2)]

    assert results == [WriteResult(None, is_refused=True)] * 2
    assert [(line["event"], line["reason"], line["error"]) for line in lines] == [("writes_refused", "permission", str(refusal))]
    assert desk.clock.waits == []


async def test_a_store_that_is_just_back_may_not_know_the_roles_yet() -> None:
    """An API server that starts answers 403 for a second or two: the write is tried again like any other that failed."""
    desk = Desk()
    desk.store.fail_next(1, AWAY)
    desk.store.fail_next(1, Forbidden("missing permission"))

    with capture_logs() as lines:
        assert (await desk.result()).outcome is Outcome.STORED

    assert lines == []


async def test_a_permission_that_is_missing_again_is_logged_again() -> None:
    """After a write that succeeded."""
    desk = Desk()
    for number in range(2):
        desk.store.fail_next(1, Forbidden("missing permission"))
        with capture_logs() as lines:
            await desk.result(an_event(key=str(number)))
        assert [line["event"] for line in lines] == ["writes_refused"]
        await desk.result(an_event(key=str(number)))


# ---------------------------------------------------------------- concurrency


async def test_refusals_lower_the_number_of_concurrent_writes() -> None:
    """Four workers write, and after a 429 two of them; the others wait for a permit."""
    desk = Desk(concurrency=4)
    desk.store.fail_next(4, Transient("429"))
    desk.store.hold_writes()
    for number in range(8):
        await desk.writer.submit(desk.envelope(an_event(key=str(number))))

    async with background(*[desk.writer.work] * 4):
        await until(lambda: len(desk.store.calls) == 4)
        desk.store.let_go()
        desk.store.hold_writes()
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(desk.store.calls) == 4 + 2
        desk.store.let_go()
        await desk.writer.drain()

    assert [result.outcome for result in desk.results] == [Outcome.STORED] * 8


async def test_a_write_that_waits_for_its_retry_holds_no_permit() -> None:
    """The failure leaves one write at a time, and a back-off would otherwise block all others."""
    clock = FakeClock()
    desk = Desk(concurrency=2, clock=clock)
    desk.store.fail_next(1, AWAY)
    first, second = an_event(key="1"), an_event(key="2")
    await desk.writer.submit(desk.envelope(first))
    await desk.writer.submit(desk.envelope(second))

    async with background(desk.writer.work, desk.writer.work):
        await until(lambda: bool(desk.results))
        assert desk.store.calls == [("create", first.name), ("create", second.name)]
        await clock.pass_one_wait()
        await desk.writer.drain()

    assert [result.outcome for result in desk.results] == [Outcome.STORED] * 2


async def test_no_worker_writes_before_retry_after_is_over() -> None:
    """Retry-After holds for all workers."""
    clock = FakeClock()
    desk = Desk(concurrency=2, clock=clock)
    desk.store.fail_next(1, Transient("429", retry_after_secs=5.0))
    for number in range(2):
        await desk.writer.submit(desk.envelope(an_event(key=str(number))))

    async with background(desk.writer.work):
        await clock.until_someone_waits()
        async with background(desk.writer.work):
            await until(lambda: len(clock.waits) == 2)
            assert (clock.waits, len(desk.store.calls)) == ([5.0, 5.0], 1)
            clock.advance(secs=5.0)
            await desk.writer.drain()

    assert [result.outcome for result in desk.results] == [Outcome.STORED] * 2


# ---------------------------------------------------------------- stopping


async def test_a_cancelled_worker_still_reports_a_result() -> None:
    """An envelope without a result would block its record forever."""
    desk = Desk()
    desk.store.hold_writes()
    await desk.writer.submit(desk.envelope())

    async with background(desk.writer.work):
        await until(lambda: bool(desk.store.calls))

    assert desk.results == [WriteResult(None)]


async def test_drain_returns_when_every_envelope_has_its_result() -> None:
    """No accepted envelope is dropped, and no more are accepted."""
    desk = Desk()
    for number in range(3):
        await desk.writer.submit(desk.envelope(an_event(key=str(number))))
    async with background(desk.writer.work):
        await desk.writer.drain()

    assert [result.outcome for result in desk.results] == [Outcome.STORED] * 3
    with pytest.raises(Closed):
        await desk.writer.submit(desk.envelope())


async def test_drain_does_not_wait_for_a_store_that_is_away() -> None:
    """The grace period of the pod is short; the rest is written after the restart."""
    desk = Desk()
    desk.store.fail_next(100, AWAY)
    await desk.writer.submit(desk.envelope())
    draining = asyncio.create_task(desk.writer.drain())
    await asyncio.sleep(0)

    async with background(desk.writer.work):
        await draining

    assert desk.results == [WriteResult(None)]
    assert desk.clock.waits == []


async def test_drain_is_not_blocked_by_a_result_that_its_receiver_fails_on() -> None:
    """A bug in the receiver does not keep the process from ending."""
    desk = Desk()

    def fail(_result: WriteResult) -> None:
        raise RuntimeError("a bug")

    write = desk.envelope().request
    await desk.writer.submit(Envelope(write, fail))
    worker = asyncio.create_task(desk.writer.work())
    await asyncio.gather(worker, return_exceptions=True)

    async with patience():
        await desk.writer.drain()


async def test_a_full_queue_makes_submit_wait() -> None:
    """Memory is bounded: the submitters are as fast as the store."""
    desk = Desk(concurrency=1)
    for key in ("1", "2"):
        await desk.writer.submit(desk.envelope(an_event(key=key)))
    third = asyncio.create_task(desk.writer.submit(desk.envelope(an_event(key="3"))))
    await asyncio.sleep(0)
    assert not third.done()

    async with background(desk.writer.work):
        await third
        await desk.writer.drain()

    assert len(desk.results) == 3
