"""zenwatch/store/writer.py: every envelope gets one receipt, whatever the store does."""

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
        self.receipts: list[WriteResult] = []

    def envelope(self, event: Event | None = None, *, count: int = 1, stored: Stored | None = None) -> Envelope:
        event = event or an_event()
        return Envelope(Upsert(event, spec_hash(event), Status(count=count), stored), self.receipts.append)

    async def receipt(self, *args: Any, **kwargs: Any) -> WriteResult:
        """Submit and wait for what comes back."""
        await self.writer.submit(self.envelope(*args, **kwargs))
        async with background(self.writer.work):
            await until(lambda: bool(self.receipts))
        return self.receipts.pop()


async def test_a_new_record_is_created() -> None:
    """One write, and the receipt tells what is stored now."""
    desk = Desk()

    receipt = await desk.receipt()

    assert receipt == WriteResult(Outcome.STORED, desk.store.stored(an_event().name))
    assert desk.store.operations() == ["create"]


async def test_a_count_above_one_is_a_second_write() -> None:
    """The count lives in the status, which a create cannot set."""
    desk = Desk()

    receipt = await desk.receipt(count=2)

    assert (receipt.outcome, desk.store.stored(an_event().name).count) == (Outcome.STORED, 2)
    assert desk.store.operations() == ["create", "set_status"]


async def test_a_record_that_another_replica_stored_is_repeated() -> None:
    """The same content was there already."""
    desk = Desk()
    await desk.store.create(an_event(), spec_hash=spec_hash(an_event()))

    assert (await desk.receipt()).outcome is Outcome.REPEATED


async def test_a_record_that_says_something_else_is_updated() -> None:
    """Also when it only turned out at the create that it was there."""
    desk = Desk()
    await desk.store.create(an_event(title="old"), spec_hash="old")

    receipt = await desk.receipt()

    assert receipt.outcome is Outcome.STORED
    assert desk.store.operations() == ["create", "create", "update"]
    assert [spec["title"] for spec in desk.store.specs()] == [an_event().title]


async def test_a_known_record_is_updated_without_a_create() -> None:
    """What the index knows saves a request."""
    desk = Desk()
    stored, _ = await desk.store.create(an_event(title="old"), spec_hash="old")

    await desk.receipt(stored=stored)

    assert desk.store.operations() == ["create", "update"]


async def test_a_record_that_is_gone_is_created_anew() -> None:
    """Somebody deleted it while we changed it: what was found is still there."""
    desk = Desk()
    stored, _ = await desk.store.create(an_event(title="old"), spec_hash="old")
    desk.store.remove(stored.name)

    receipt = await desk.receipt(stored=stored)

    assert receipt == WriteResult(Outcome.STORED, desk.store.stored(stored.name))


# ---------------------------------------------------------------- failures


async def test_a_passing_failure_is_tried_again_a_little_later_each_time() -> None:
    """0.5 s doubling, jittered by half."""
    desk = Desk()
    desk.store.fail_next(TRIES - 1, AWAY)

    assert (await desk.receipt()).outcome is Outcome.STORED

    assert len(desk.store.calls) == TRIES
    for wait_secs, longest_secs in zip(desk.clock.waits, (0.5, 1.0, 2.0), strict=True):
        assert longest_secs / 2 <= wait_secs <= longest_secs


async def test_the_store_may_say_how_long_to_wait() -> None:
    """429 with Retry-After: a server under load knows best."""
    desk = Desk()
    desk.store.fail_next(1, Transient("429", retry_after_secs=17.0))

    await desk.receipt()

    assert desk.clock.waits == [17.0]


async def test_after_four_tries_the_write_is_not_settled() -> None:
    """The source tries again at its next round; the worker is free for others."""
    desk = Desk()
    desk.store.fail_next(TRIES, AWAY)

    assert await desk.receipt() == WriteResult(None)

    assert len(desk.store.calls) == TRIES


async def test_a_record_made_before_a_failure_counts_as_stored() -> None:
    """The try that failed at the count had created it: nobody else did."""
    desk = Desk()
    desk.store.fail_next(1, AWAY, of="set_status")

    receipt = await desk.receipt(count=2)

    assert (receipt.outcome, desk.store.stored(an_event().name).count) == (Outcome.STORED, 2)


async def test_a_record_that_the_store_refuses_becomes_a_dead_letter() -> None:
    """It will not work however often it is tried, but somebody can look at it, with the store's sentence."""
    desk = Desk()
    desk.store.fail_next(1, Invalid("422: spec.title: too long"))

    assert await desk.receipt() == WriteResult(Outcome.DEAD_LETTERED)

    assert desk.letters.letters == [DeadLetter(an_event(), "422: spec.title: too long", format_rfc3339(desk.clock.now()))]
    assert desk.clock.waits == []


async def test_the_letter_lies_there_before_the_receipt_comes() -> None:
    """Whoever gets the receipt forgets the event; a crash in between must not lose it."""
    desk = Desk()
    desk.store.fail_next(1, Invalid("422"))
    desk.letters.hold()
    await desk.writer.submit(desk.envelope())

    async with background(desk.writer.work):
        await until(lambda: desk.letters.is_asked)
        assert desk.receipts == []

    assert desk.receipts == [WriteResult(None)]


async def test_without_a_place_for_dead_letters_the_log_names_them() -> None:
    """With the key, by which the tool's report can be found."""
    desk = Desk(logs_dead_letters=True)
    desk.store.fail_next(1, Invalid("422: too long"))

    with capture_logs() as lines:
        assert await desk.receipt() == WriteResult(Outcome.DEAD_LETTERED)

    assert [(line["event"], line["key"], line["reason"]) for line in lines] == [("dead_letter", an_event().key, "422: too long")]


async def test_a_missing_permission_is_told_once() -> None:
    """It meets every write: one line says as much as a thousand. It is not retried, and not settled."""
    desk = Desk()
    refusal = Forbidden("missing permission: create zenagentevents.zen.kube-zen.io in namespace default")
    desk.store.fail_next(3, refusal)

    with capture_logs() as lines:
        receipts = [await desk.receipt() for _ in range(3)]

    assert receipts == [WriteResult(None)] * 3
    assert [(line["event"], line["error"]) for line in lines] == [("permission_missing", str(refusal))]
    assert desk.clock.waits == []


async def test_a_permission_that_goes_missing_again_is_told_again() -> None:
    """After a write that worked, it is news."""
    desk = Desk()
    for number in range(2):
        desk.store.fail_next(1, Forbidden("missing permission"))
        with capture_logs() as lines:
            await desk.receipt(an_event(key=str(number)))
        assert [line["event"] for line in lines] == ["permission_missing"]
        await desk.receipt(an_event(key=str(number)))


# ---------------------------------------------------------------- as many at once as the store bears


async def test_refusals_make_fewer_writes_go_on_at_once() -> None:
    """Four workers, and after a 429 two of them: the others wait for their turn."""
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

    assert [receipt.outcome for receipt in desk.receipts] == [Outcome.STORED] * 8


async def test_whoever_waits_to_try_again_leaves_the_turn_to_others() -> None:
    """With one write at a time, a back-off would otherwise hold up everybody."""
    clock = FakeClock()
    desk = Desk(concurrency=1, clock=clock)
    desk.store.fail_next(1, AWAY)
    first, second = an_event(key="1"), an_event(key="2")
    await desk.writer.submit(desk.envelope(first))
    await desk.writer.submit(desk.envelope(second))

    async with background(desk.writer.work, desk.writer.work):
        await until(lambda: bool(desk.receipts))
        assert desk.store.calls == [("create", first.name), ("create", second.name)]
        await clock.pass_one_wait()
        await desk.writer.drain()

    assert [receipt.outcome for receipt in desk.receipts] == [Outcome.STORED] * 2


async def test_nobody_asks_a_store_that_said_when_to_come_again() -> None:
    """Retry-After is for all workers, not only for the one that read it."""
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

    assert [receipt.outcome for receipt in desk.receipts] == [Outcome.STORED] * 2


# ---------------------------------------------------------------- stopping


async def test_a_cancelled_worker_still_gives_a_receipt() -> None:
    """An envelope without one would block its name for ever."""
    desk = Desk()
    desk.store.hold_writes()
    await desk.writer.submit(desk.envelope())

    async with background(desk.writer.work):
        await until(lambda: bool(desk.store.calls))

    assert desk.receipts == [WriteResult(None)]


async def test_drain_returns_when_every_receipt_was_given() -> None:
    """Nothing that was taken is dropped, and nothing more is taken."""
    desk = Desk()
    for number in range(3):
        await desk.writer.submit(desk.envelope(an_event(key=str(number))))
    async with background(desk.writer.work):
        await desk.writer.drain()

    assert [receipt.outcome for receipt in desk.receipts] == [Outcome.STORED] * 3
    with pytest.raises(Closed):
        await desk.writer.submit(desk.envelope())


async def test_drain_does_not_wait_for_a_store_that_is_away() -> None:
    """The pod's grace period is short; what is not written is written after the restart."""
    desk = Desk()
    desk.store.fail_next(100, AWAY)
    await desk.writer.submit(desk.envelope())
    draining = asyncio.create_task(desk.writer.drain())
    await asyncio.sleep(0)

    async with background(desk.writer.work):
        await draining

    assert desk.receipts == [WriteResult(None)]
    assert desk.clock.waits == []


async def test_drain_is_not_blocked_by_a_receipt_that_nobody_could_take() -> None:
    """A bug in the room that takes the receipt costs its own receipt, not the end of the process."""
    desk = Desk()

    def cannot_take(_receipt: WriteResult) -> None:
        raise RuntimeError("a bug")

    write = desk.envelope().request
    await desk.writer.submit(Envelope(write, cannot_take))
    worker = asyncio.create_task(desk.writer.work())
    await asyncio.gather(worker, return_exceptions=True)

    async with patience():
        await desk.writer.drain()


async def test_a_full_queue_makes_submit_wait() -> None:
    """Memory is bounded: whoever produces is slowed down to what the store takes."""
    desk = Desk(concurrency=1)
    for key in ("1", "2"):
        await desk.writer.submit(desk.envelope(an_event(key=key)))
    third = asyncio.create_task(desk.writer.submit(desk.envelope(an_event(key="3"))))
    await asyncio.sleep(0)
    assert not third.done()

    async with background(desk.writer.work):
        await third
        await desk.writer.drain()

    assert len(desk.receipts) == 3
