"""zenwatch/runtime/token_bucket.py: no more than a number of acts per second."""

import asyncio

from tests.support.fakes.clock import FakeClock
from zenwatch.runtime.token_bucket import TokenBucket


async def let_all_run() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Queue:
    """Takers of one bucket, by number. went: those that have their token, in that order."""

    def __init__(self, rate_per_sec: float, *, burst: float | None = None) -> None:
        self.clock = FakeClock()
        self.went: list[int] = []
        self.takers: list[asyncio.Task[None]] = []
        self._bucket = TokenBucket(self.clock, rate_per_sec, burst=burst)

    async def add(self, takers: int) -> None:
        self.takers += [asyncio.create_task(self._take(len(self.takers) + number)) for number in range(takers)]
        await let_all_run()

    async def pass_time(self, secs: float) -> None:
        """In small steps: a waiter that is woken may be followed by one that waits."""
        for _ in range(round(secs * 100)):
            self.clock.advance(secs=0.01)
            await let_all_run()

    async def end(self) -> None:
        for taker in self.takers:
            taker.cancel()
        await asyncio.gather(*self.takers, return_exceptions=True)

    async def _take(self, number: int) -> None:
        await self._bucket.take()
        self.went.append(number)


async def test_a_second_s_worth_goes_at_once() -> None:
    """A start, or a page of new reports, is not slowed down below what was allowed; the next one waits."""
    queue = Queue(3)
    await queue.add(4)

    assert queue.went == [0, 1, 2]
    await queue.end()


async def test_after_a_long_silence_no_more_than_the_burst_goes_at_once() -> None:
    """An hour without requests does not allow an hour's worth of them."""
    queue = Queue(1, burst=3)
    queue.clock.advance(secs=3600)
    await queue.add(4)

    assert queue.went == [0, 1, 2]
    await queue.end()


async def test_a_rate_below_one_still_lets_one_go() -> None:
    """A bucket for less than one token would never hold one."""
    queue = Queue(0.5)
    await queue.add(2)
    assert queue.went == [0]

    await queue.pass_time(2.1)
    assert queue.went == [0, 1]


async def test_the_rate_is_kept_and_whoever_came_first_goes_first() -> None:
    """Many wait at the same time."""
    queue = Queue(10)
    await queue.add(30)

    await queue.pass_time(1.05)
    assert queue.went == list(range(20))
    await queue.pass_time(1.0)
    assert queue.went == list(range(30))


async def test_whoever_gives_up_waiting_keeps_no_token() -> None:
    """Requests that time out in the queue must not push back the later ones, neither from its head nor from its middle."""
    queue = Queue(1)
    await queue.add(5)
    for number in (1, 3):
        queue.takers[number].cancel()
    await let_all_run()

    await queue.pass_time(1.05)
    assert queue.went == [0, 2]
    await queue.pass_time(1.0)
    assert queue.went == [0, 2, 4]
