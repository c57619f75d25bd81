"""zenwatch/store/adaptive_limit.py: refusals and slowness lower the limit, health raises it, and nobody is forgotten."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from tests.support.fakes.clock import FakeClock
from tests.support.tasks import until
from zenwatch.errors import Forbidden, Invalid, NotFound, Transient
from zenwatch.store.adaptive_limit import LONGEST_PAUSE_SECS, SLOW_SECS, SLOW_TIMES, AdaptiveLimiter

QUICK_SECS = 0.005


class Bench:
    """A valve, and writers that hold their turns until they are told how their try ended. begun: who, in that order."""

    def __init__(self, *, most: int = 16) -> None:
        self.clock = FakeClock()
        self.limiter = AdaptiveLimiter(self.clock, most=most)
        self.begun: list[str] = []
        self._endings: dict[str, asyncio.Future[None]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def want(self, *names: str) -> None:
        for name in names:
            self._endings[name] = asyncio.get_running_loop().create_future()
            self._tasks[name] = asyncio.create_task(self._write(name))

    async def end(self, name: str, failure: Exception | None = None) -> None:
        """The try of this writer ends; whoever that makes room for begins."""
        ending = self._endings[name]
        if failure is None:
            ending.set_result(None)
        else:
            ending.set_exception(failure)
        await asyncio.wait([self._tasks[name]])
        self._forget(name)
        await schedule()

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])
        self._forget(name)
        await schedule()

    async def close(self) -> None:
        for name in list(self._tasks):
            await self.cancel(name)

    @property
    def going_on(self) -> list[str]:
        return [name for name in self.begun if name in self._tasks]

    @property
    def waiting(self) -> list[str]:
        return [name for name in self._tasks if name not in self.begun]

    async def _write(self, name: str) -> None:
        async with self.limiter.permit():
            self.begun.append(name)
            await self._endings[name]

    def _forget(self, name: str) -> None:
        task = self._tasks.pop(name)
        if not task.cancelled():
            task.exception()

    # ------------------------------------------------------------ one after the other

    async def write(self, *, secs: float = QUICK_SECS, failure: Exception | None = None, times: int = 1) -> None:
        """Tries that take so long each."""
        for _ in range(times):
            with suppress(Exception):
                async with self.limiter.permit():
                    self.clock.advance(secs=secs)
                    if failure:
                        raise failure


async def schedule() -> None:
    """Let everybody who was woken, and whom they wake, come to a stop."""
    for _ in range(40):
        await asyncio.sleep(0)


def exported() -> float | None:
    return REGISTRY.get_sample_value("zenwatch_write_concurrency")


# ---------------------------------------------------------------- refusals


async def test_it_begins_with_what_the_operator_allowed() -> None:
    """WRITE_CONCURRENCY is a promise that this many are fine; if they are not, the first refusal says so."""
    bench = Bench(most=7)

    assert (bench.limiter.limit, exported()) == (7, 7)


@pytest.mark.parametrize("failure", [Transient("429"), Transient("500"), Transient("no answer within 30 s")], ids=str)
async def test_a_refusal_halves_it(failure: Exception) -> None:
    """A server that answers 429 or 5xx, or not at all, gets less at once."""
    bench = Bench()

    await bench.write(failure=failure)

    assert (bench.limiter.limit, exported()) == (8, 8)


async def test_one_overload_counts_once_however_many_writes_it_meets() -> None:
    """Sixteen that were under way are all refused: that is one event, not sixteen."""
    bench = Bench()

    await bench.write(secs=0.01, failure=Transient("429"), times=16)
    assert bench.limiter.limit == 8

    bench.clock.advance(secs=1.0)
    await bench.write(secs=0.01, failure=Transient("429"), times=16)
    assert bench.limiter.limit == 4


async def test_one_write_at_a_time_is_always_allowed() -> None:
    """Else nobody would ever learn that the server is well again."""
    bench = Bench(most=3)

    await bench.write(secs=1.0, failure=Transient("503"), times=10)

    assert (bench.limiter.limit, exported()) == (1, 1)


@pytest.mark.parametrize(
    "failure", [NotFound("gone"), Invalid("422"), Forbidden("missing permission")], ids=lambda failure: type(failure).__name__
)
async def test_what_is_wrong_with_one_record_says_nothing_about_load(failure: Exception) -> None:
    """Neither lower nor higher: refusing is cheap for a server that cannot write."""
    bench = Bench()
    await bench.write(failure=Transient("429"))

    await bench.write(secs=0.02, failure=failure, times=100)

    assert bench.limiter.limit == 8


# ---------------------------------------------------------------- health


async def test_it_recovers_to_the_maximum_and_no_further() -> None:
    """One more for each full round of healthy writes: slower than it fell."""
    bench = Bench()
    await bench.write(failure=Transient("429"))

    await bench.write(times=9)
    assert bench.limiter.limit == 9

    await bench.write(times=120)
    assert (bench.limiter._exact, exported()) == (16.0, 16)


async def test_the_lowest_limit_is_left_by_one_healthy_write() -> None:
    """1/limit of 1 is 1."""
    bench = Bench(most=2)
    await bench.write(failure=Transient("429"))

    await bench.write()

    assert bench.limiter.limit == 2


# ---------------------------------------------------------------- slowness


async def test_a_server_that_becomes_slow_gets_less_at_once() -> None:
    """By a tenth a second, as long as it lasts."""
    bench = Bench()
    await bench.write(times=100)

    await bench.write(secs=0.5, times=10)
    assert 10 <= bench.limiter.limit <= 14

    await bench.write(times=100)
    assert bench.limiter.limit == 16


async def test_slow_writes_at_the_same_time_count_once() -> None:
    """What began before the limit was lowered cannot tell what that did, also if it ends much later."""
    bench = Bench()
    await bench.write(times=100)
    names = [str(number) for number in range(16)]
    bench.want(*names)
    await schedule()

    for name in names:
        bench.clock.advance(secs=1.1)
        await bench.end(name)

    assert bench.limiter.limit == 14


async def test_one_slow_write_is_no_reason() -> None:
    """A pause of etcd or of this process: the average stays low."""
    bench = Bench()
    await bench.write(times=100)

    await bench.write(secs=2.0)

    assert bench.limiter.limit == 16


async def test_a_busy_machine_is_no_reason() -> None:
    """Forty times the shortest time, and still below the floor."""
    bench = Bench()
    await bench.write(times=100)

    await bench.write(secs=SLOW_SECS - 0.05, times=200)

    assert bench.limiter.limit == 16


async def test_a_server_that_is_far_away_is_no_reason() -> None:
    """It always took this long, and a try of several requests so many times as long."""
    bench = Bench()
    await bench.write(secs=0.3)

    await bench.write(secs=0.3 * SLOW_TIMES - 0.1, times=100)

    assert bench.limiter.limit == 16


async def test_a_server_that_stays_slow_becomes_the_measure() -> None:
    """It may have moved: after an hour nobody remembers that it was quicker."""
    bench = Bench()
    await bench.write(times=100)
    await bench.write(secs=0.5, times=60)
    assert bench.limiter.limit == 4

    for _ in range(60):
        bench.clock.advance(secs=60.0)
        await bench.write(secs=0.5)
    await bench.write(secs=0.5, times=120)

    assert bench.limiter.limit == 16


async def test_slowness_alone_leaves_a_quarter() -> None:
    """Others may make the server slow; refusals go below, and slow answers lead back to there."""
    bench = Bench()
    await bench.write(times=100)
    await bench.write(secs=1.0, times=100)
    assert bench.limiter.limit == 4

    await bench.write(secs=1.0, failure=Transient("429"), times=2)
    assert bench.limiter.limit == 1

    await bench.write(secs=1.0)
    assert bench.limiter.limit == 2
    await bench.write(secs=1.0, times=100)
    assert bench.limiter.limit == 4


# ---------------------------------------------------------------- turns


async def test_turns_are_given_in_the_order_they_were_asked_for() -> None:
    """Who comes later does not overtake, also when there is room at that very moment."""
    bench = Bench(most=2)
    bench.want("a", "b", "c", "d")
    await schedule()
    assert bench.begun == ["a", "b"]

    bench._endings["a"].set_result(None)
    # Its first step comes between the end of a and the first step of c.
    bench.want("e")
    await schedule()
    assert bench.begun == ["a", "b", "c"]

    await bench.end("b")
    await bench.end("c")
    assert bench.begun == ["a", "b", "c", "d", "e"]
    await bench.close()


async def test_a_lower_limit_counts_as_turns_are_given_back() -> None:
    """Nobody who began is cut off; nobody new begins before there is room under the new limit."""
    bench = Bench(most=4)
    bench.want("a", "b", "c", "d", "e", "f")
    await schedule()

    await bench.end("a", Transient("429"))
    await bench.end("b", Transient("429"))
    assert bench.going_on == ["c", "d"]

    await bench.end("c")
    assert bench.going_on == ["d", "e"]
    await bench.close()


async def test_a_higher_limit_lets_several_begin() -> None:
    """One turn given back makes room for two."""
    bench = Bench(most=2)
    await bench.write(failure=Transient("429"))
    bench.want("a", "b", "c")
    await schedule()
    assert bench.going_on == ["a"]

    await bench.end("a")

    assert bench.going_on == ["b", "c"]
    await bench.close()


async def test_a_waiter_that_gives_up_leaves_its_place() -> None:
    """First of those who wait, or in the middle."""
    bench = Bench(most=1)
    bench.want("a", "b", "c", "d")
    await schedule()

    await bench.cancel("c")
    await bench.cancel("b")
    await bench.end("a")

    assert bench.going_on == ["d"]
    await bench.close()


async def test_a_waiter_that_is_cancelled_as_its_turn_comes_hands_it_on() -> None:
    """Called and cancelled in the same moment: the turn must not be lost."""
    bench = Bench(most=1)
    bench.want("a", "b", "c")
    await schedule()

    bench._endings["a"].set_result(None)
    await asyncio.sleep(0)
    bench._tasks["b"].cancel()
    await schedule()

    assert bench.begun == ["a", "c"]
    await bench.close()


async def test_a_holder_that_is_cancelled_gives_its_turn_back() -> None:
    """Stopping says nothing about load: the limit stays."""
    bench = Bench(most=2)
    bench.want("a", "b", "c")
    await schedule()

    await bench.cancel("a")

    assert (bench.going_on, bench.limiter.limit) == (["b", "c"], 2)
    await bench.close()


# ---------------------------------------------------------------- pauses


async def test_nobody_begins_before_retry_after_has_passed() -> None:
    """Neither who waited already nor who comes in between."""
    bench = Bench(most=4)
    bench.want("a", "b", "c", "d", "e")
    await schedule()
    await bench.end("a", Transient("429", retry_after_secs=5.0))
    for name in "bcd":
        await bench.end(name)
    bench.want("f")
    await schedule()

    bench.clock.advance(secs=4.9)
    await schedule()
    assert bench.waiting == ["e", "f"]

    bench.clock.advance(secs=0.2)
    await schedule()
    assert bench.going_on == ["e", "f"]
    await bench.close()


async def test_after_a_pause_no_more_begin_than_the_limit_is_then() -> None:
    """It was lowered while they waited."""
    bench = Bench(most=8)
    bench.want(*"abcdefgh", *"ijklmnop")
    await schedule()
    for name in "abcdefgh":
        await bench.end(name, Transient("429", retry_after_secs=2.0))
    assert bench.going_on == []

    bench.clock.advance(secs=2.0)
    await schedule()

    assert bench.going_on == list("ijkl")
    await bench.close()


async def test_a_pause_may_grow_and_never_shrinks() -> None:
    """The server said several things: the latest end counts, also for who waits already."""
    bench = Bench(most=4)
    bench.want("a", "b", "c", "d", "e")
    await schedule()
    await bench.end("a", Transient("429", retry_after_secs=10.0))
    await bench.end("b", Transient("429", retry_after_secs=1.0))
    await bench.end("c", Transient("429"))
    bench.clock.advance(secs=2.0)
    await schedule()
    assert bench.waiting == ["e"]

    await bench.end("d", Transient("429", retry_after_secs=12.0))
    bench.clock.advance(secs=8.5)
    await schedule()
    assert bench.waiting == ["e"]

    bench.clock.advance(secs=3.5)
    await schedule()
    assert bench.going_on == ["e"]
    await bench.close()


async def test_a_pause_has_an_end_whatever_the_server_asks() -> None:
    """An hour, by a proxy in between, would look like a process that hangs."""
    bench = Bench(most=2)
    await bench.write(failure=Transient("503", retry_after_secs=3600.0))
    bench.want("a")
    await schedule()

    bench.clock.advance(secs=LONGEST_PAUSE_SECS)
    await schedule()

    assert bench.going_on == ["a"]
    await bench.close()


async def test_whoever_is_cancelled_in_a_pause_leaves_the_pause_to_the_next() -> None:
    """The first one in the line watches the clock for all."""
    bench = Bench(most=2)
    await bench.write(failure=Transient("429", retry_after_secs=5.0))
    bench.want("a", "b")
    await schedule()
    await bench.cancel("a")

    bench.clock.advance(secs=5.0)
    await schedule()

    assert bench.going_on == ["b"]
    await bench.close()


# ---------------------------------------------------------------- whatever happens

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.integers(0, 5)),
        st.tuples(st.sampled_from(["healthy", "refused", "pause", "gone", "cancel holder", "cancel waiter"]), st.integers(0, 20)),
        st.tuples(st.just("advance"), st.sampled_from([0, 1, 3, 10, 11, 20, 100, 400])),
    ),
    max_size=50,
)


@settings(deadline=None, max_examples=200)
@given(most=st.integers(1, 6), steps=STEPS)
async def test_the_promises_hold_whatever_happens(most: int, steps: Sequence[tuple[str, int]]) -> None:
    """Never above the maximum or below one, halved once a second at most, in order, and nobody who may begin is left waiting."""
    bench = Bench(most=most)
    order: list[str] = []
    gone: set[str] = set()
    halved_at: list[float] = []
    endings: dict[str, Callable[[], Exception | None]] = {
        "healthy": lambda: None,
        "refused": lambda: Transient("503"),
        "pause": lambda: Transient("429", retry_after_secs=0.7),
        "gone": lambda: NotFound("gone"),
    }
    for step, number in steps:
        before = bench.limiter._exact
        if step == "want":
            names = [f"{len(order) + place}" for place in range(number)]
            order += names
            bench.want(*names)
        elif step == "advance":
            bench.clock.advance(secs=number / 10)
        elif step == "cancel waiter" and bench.waiting:
            name = bench.waiting[number % len(bench.waiting)]
            gone.add(name)
            await bench.cancel(name)
        elif step == "cancel holder" and bench.going_on:
            await bench.cancel(bench.going_on[number % len(bench.going_on)])
        elif step in endings and bench.going_on:
            await bench.end(bench.going_on[number % len(bench.going_on)], endings[step]())
        await schedule()

        limiter, now_secs = bench.limiter, bench.clock.monotonic_secs()
        assert 1 <= limiter.limit <= most
        assert 1.0 <= limiter._exact <= most
        assert exported() == limiter.limit
        if limiter._exact <= before / 2:
            halved_at.append(now_secs)
        assert bench.begun == [name for name in order if name not in gone][: len(bench.begun)]
        assert limiter._going_on == len(bench.going_on)
        has_room = limiter._going_on < limiter.limit and now_secs >= limiter._paused_until
        assert not (has_room and bench.waiting)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(halved_at))

    bench.clock.advance(secs=LONGEST_PAUSE_SECS)
    await schedule()
    while bench.going_on:
        await bench.end(bench.going_on[0])
    assert bench.waiting == []


async def test_many_writers_through_a_narrow_valve_all_come_through() -> None:
    """Some are cancelled, some refused, at every stage."""
    limiter = AdaptiveLimiter(FakeClock(skips_waits=True), most=3)
    done: list[int] = []
    going_on = most_at_once = 0

    async def write(number: int) -> None:
        nonlocal going_on, most_at_once
        with suppress(Transient):
            async with limiter.permit():
                going_on += 1
                most_at_once = max(most_at_once, going_on)
                try:
                    for _ in range(number % 4):
                        await asyncio.sleep(0)
                    if number % 7 == 0:
                        raise Transient("429", retry_after_secs=0.5)
                finally:
                    going_on -= 1
        done.append(number)

    tasks = [asyncio.create_task(write(number)) for number in range(300)]
    for number in range(0, 300, 5):
        await asyncio.sleep(0)
        tasks[number].cancel()
    await until(lambda: all(task.done() for task in tasks))

    assert most_at_once <= 3
    assert len(done) >= 240
    assert limiter._going_on == 0
    assert not limiter._waiting
