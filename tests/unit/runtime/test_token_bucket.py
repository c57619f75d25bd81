"""zenwatch/runtime/token_bucket.py: below a number of requests per second. In real time, as it has no clock to hand over."""

import asyncio
from time import monotonic

from tests.support.tasks import PATIENCE_SECS, patience
from zenwatch.runtime.token_bucket import TokenBucket


async def goes_at_once(pace: TokenBucket) -> bool:
    try:
        async with asyncio.timeout(0):
            await pace.take()
    except TimeoutError:
        return False
    return True


async def test_a_second_s_worth_goes_at_once() -> None:
    """A start, or a page of new reports, is not slowed down below what was allowed; the next one waits."""
    pace = TokenBucket(3)

    assert [await goes_at_once(pace) for _ in range(4)] == [True, True, True, False]


async def test_after_a_long_silence_no_more_than_a_second_s_worth_goes_at_once() -> None:
    """An hour without requests does not allow an hour's worth of them."""
    pace = TokenBucket(3)
    pace._counted_at -= 3600

    assert [await goes_at_once(pace) for _ in range(4)] == [True, True, True, False]


async def test_the_rate_is_kept_and_whoever_came_first_goes_first() -> None:
    """Fifteen more than the burst at 100 a second take 150 ms, one after the other."""
    went: list[int] = []
    started = monotonic()
    pace = TokenBucket(100)

    async def take(number: int) -> None:
        await pace.take()
        went.append(number)

    await asyncio.gather(*(take(number) for number in range(115)))

    # A timer may come a clock tick early.
    assert monotonic() - started >= 0.145
    assert went == list(range(115))


async def test_whoever_gives_up_waiting_gives_its_turn_back() -> None:
    """Requests that time out in the queue would else push all later ones back, for ever where more come than may go."""
    pace = TokenBucket(20)
    # Those who came after so many that wait would wait for longer than the test does.
    for _ in range(int(2 * PATIENCE_SECS * 20)):
        await goes_at_once(pace)

    async with patience():
        await pace.take()
