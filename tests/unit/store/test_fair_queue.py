"""zenwatch/store/fair_queue.py: targets take turns, and none keeps the workers of the others."""

import asyncio

from tests.support.builders.findings import an_event
from tests.support.tasks import background, until
from zenwatch.model.record import Status
from zenwatch.model.write import Envelope, Upsert
from zenwatch.store.fair_queue import FairQueue


def an_envelope(key: str = "1") -> Envelope:
    return Envelope(Upsert(an_event(key=key), "hash", Status(), None), lambda _result: None)


async def a_queue(*targets: str, most_busy: int = 2, reserve: int = 1, capacity: int = 10) -> FairQueue:
    """An envelope waits for each of these."""
    queue = FairQueue(most_busy=most_busy, reserve=reserve, capacity=capacity)
    for target in targets:
        await queue.put(target, an_envelope())
    return queue


async def taken(queue: FairQueue, most: int) -> list[str]:
    """The targets of the envelopes that so many workers get, before one of them is done."""
    targets: list[str] = []

    async def work() -> None:
        targets.append((await queue.get())[0])

    async with background(*[work] * most):
        for _ in range(20):
            await asyncio.sleep(0)
    return targets


async def test_targets_take_turns() -> None:
    """Ten writes of one namespace do not go before the only one of another."""
    queue = await a_queue(*["shop"] * 5, "bank", most_busy=3)

    assert await taken(queue, 3) == ["shop", "bank", "shop"]


async def test_one_target_has_all_workers_but_the_reserve() -> None:
    """The rest waits until one is done."""
    queue = await a_queue(*["shop"] * 5)

    assert await taken(queue, 3) == ["shop", "shop"]
    queue.done("shop")
    assert await taken(queue, 3) == ["shop"]


async def test_a_target_without_a_worker_gets_one_of_the_reserve() -> None:
    """One: for more than that it waits like the others."""
    queue = await a_queue(*["shop"] * 2)
    await taken(queue, 2)
    for _ in range(2):
        await queue.put("bank", an_envelope())

    assert await taken(queue, 5) == ["bank"]


async def test_a_worker_that_hangs_makes_way_for_another() -> None:
    """detach(): it goes on, and does not count."""
    queue = await a_queue(*["shop"] * 4)
    await taken(queue, 2)

    queue.detach("shop")
    queue.detach("shop")

    assert await taken(queue, 5) == ["shop", "shop"]


async def test_an_envelope_wakes_one_worker_that_waits() -> None:
    """A worker that is cancelled as it is woken passes the envelope on."""
    queue = await a_queue()
    got: list[str] = []

    async def work() -> None:
        got.append((await queue.get())[0])

    first, second = asyncio.create_task(work()), asyncio.create_task(work())
    await asyncio.sleep(0)
    await queue.put("shop", an_envelope())
    first.cancel()
    await until(lambda: bool(got))

    assert (got, first.cancelled()) == (["shop"], True)
    second.cancel()


async def test_a_full_queue_takes_one_more_of_a_target_that_has_none() -> None:
    """So that a namespace whose writes pile up does not keep others out; and no more than twice as many in all."""
    queue = await a_queue("shop", "shop", capacity=2)
    waiting = asyncio.create_task(queue.put("shop", an_envelope()))
    await queue.put("bank", an_envelope())
    await queue.put("inn", an_envelope())
    last = asyncio.create_task(queue.put("mill", an_envelope()))
    await asyncio.sleep(0)

    assert (waiting.done(), last.done()) == (False, False)
    await taken(queue, 1)
    await until(last.done)
    await taken(queue, 3)
    for target in ("bank", "shop"):
        queue.done(target)
    await taken(queue, 3)
    await until(waiting.done)


async def test_join_waits_for_what_was_taken() -> None:
    """Also where the worker was detached."""
    queue = await a_queue("shop", "bank")
    joining = asyncio.create_task(queue.join())
    assert await taken(queue, 2) == ["shop", "bank"]
    queue.done("bank")
    queue.detach("shop")
    await asyncio.sleep(0)
    assert not joining.done()

    queue.done("shop", was_detached=True)

    await until(joining.done)
