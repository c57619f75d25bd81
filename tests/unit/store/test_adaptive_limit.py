"""zenwatch/store/adaptive_limit.py: refusals and slow answers lower the limit, healthy answers raise it, and no waiter is forgotten."""

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
    """A limiter, and writers that hold their permits until the test ends their try. begun: the writers that began, in order."""

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
        """The try of this writer ends, and the next one may begin."""
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
        """So many tries, each of which takes so long."""
        for _ in range(times):
            with suppress(Exception):
                async with self.limiter.permit():
                    self.clock.advance(secs=secs)
                    if failure:
                        raise failure


async def schedule() -> None:
    """Let all tasks run until each of them waits."""
    for _ in range(40):
        await asyncio.sleep(0)


def exported() -> float | None:
    return REGISTRY.get_sample_value("zenwatch_write_concurrency")


# ---------------------------------------------------------------- refusals


async def test_it_begins_with_what_the_operator_allowed() -> None:
    """With WRITE_CONCURRENCY; the first refusal lowers it."""
    bench = Bench(most=7)

    assert (bench.limiter.limit, exported()) == (7, 7)


@pytest.mark.parametrize("failure", [Transient("429"), Transient("500"), Transient("no answer within 30 s")], ids=str)
async def test_a_refusal_halves_it(failure: Exception) -> None:
    """After 429, 5xx or no answer, fewer writes run at the same time."""
    bench = Bench()

    await bench.write(failure=failure)

    assert (bench.limiter.limit, exported()) == (8, 8)


async def test_one_overload_counts_once_however_many_writes_it_meets() -> None:
    """Sixteen writes in flight are refused together: the limit is halved once."""
    bench = Bench()

    await bench.write(secs=0.01, failure=Transient("429"), times=16)
    assert bench.limiter.limit == 8

    bench.clock.advance(secs=1.0)
    await bench.write(secs=0.01, failure=Transient("429"), times=16)
    assert bench.limiter.limit == 4


async def test_one_write_at_a_time_is_always_allowed() -> None:
    """Otherwise nothing would show that the server is healthy again."""
    bench = Bench(most=3)

    await bench.write(secs=1.0, failure=Transient("503"), times=10)

    assert (bench.limiter.limit, exported()) == (1, 1)


@pytest.mark.parametrize(
    "failure", [NotFound("gone"), Invalid("422"), Forbidden("missing permission")], ids=lambda failure: type(failure).__name__
)
async def test_an_error_of_one_record_does_not_change_the_limit(failure: Exception) -> None:
    """Neither down nor up: a server that cannot write refuses quickly."""
    bench = Bench()
    await bench.write(failure=Transient("429"))

    await bench.write(secs=0.02, failure=failure, times=100)

    assert bench.limiter.limit == 8


# ---------------------------------------------------------------- health


async def test_it_recovers_to_the_maximum_and_no_further() -> None:
    """By one for as many healthy writes as the limit is: it rises slower than it falls."""
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


async def test_a_slow_server_gets_fewer_concurrent_writes() -> None:
    """By a tenth per second, as long as it is slow."""
    bench = Bench()
    await bench.write(times=100)

    await bench.write(secs=0.5, times=10)
    assert 10 <= bench.limiter.limit <= 14

    await bench.write(times=100)
    assert bench.limiter.limit == 16


async def test_slow_writes_at_the_same_time_count_once() -> None:
    """A write that began before the limit was lowered does not show the effect, also if it ends much later."""
    bench = Bench()
    await bench.write(times=100)
    names = [str(number) for number in range(16)]
    bench.want(*names)
    await schedule()

    for name in names:
        bench.clock.advance(secs=1.1)
        await bench.end(name)

    assert bench.limiter.limit == 14


async def test_one_slow_write_does_not_lower_the_limit() -> None:
    """After a pause of etcd or of this process the average stays low."""
    bench = Bench()
    await bench.write(times=100)

    await bench.write(secs=2.0)

    assert bench.limiter.limit == 16


async def test_a_busy_machine_does_not_lower_the_limit() -> None:
    """Writes take forty times the shortest time, which is still below SLOW_SECS."""
    bench = Bench()
    await bench.write(times=100)

    await bench.write(secs=SLOW_SECS - 0.05, times=200)

    assert bench.limiter.limit == 16


async def test_a_distant_server_does_not_lower_the_limit() -> None:
    """Its writes always took this long; a try of several requests takes several times as long."""
    bench = Bench()
    await bench.write(secs=0.3)

    await bench.write(secs=0.3 * SLOW_TIMES - 0.1, times=100)

    assert bench.limiter.limit == 16


async def test_a_server_that_stays_slow_becomes_the_new_normal() -> None:
    """After an hour the quicker times are forgotten."""
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
    """Others may make the server slow. Refusals lower the limit further, and slow answers raise it back to a quarter."""
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


# ---------------------------------------------------------------- permits


async def test_permits_are_given_in_the_order_of_the_requests() -> None:
    """A later writer does not overtake, also if a permit is free at that moment."""
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


async def test_a_lower_limit_holds_as_permits_are_returned() -> None:
    """No running write is cut off, and no new one begins above the new limit."""
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
    """After one permit is returned, two writers begin."""
    bench = Bench(most=2)
    await bench.write(failure=Transient("429"))
    bench.want("a", "b", "c")
    await schedule()
    assert bench.going_on == ["a"]

    await bench.end("a")

    assert bench.going_on == ["b", "c"]
    await bench.close()


async def test_a_cancelled_waiter_leaves_the_queue() -> None:
    """At its head, or in the middle."""
    bench = Bench(most=1)
    bench.want("a", "b", "c", "d")
    await schedule()

    await bench.cancel("c")
    await bench.cancel("b")
    await bench.end("a")

    assert bench.going_on == ["d"]
    await bench.close()


async def test_a_waiter_that_is_cancelled_as_it_gets_a_permit_passes_it_on() -> None:
    """The permit must not be lost."""
    bench = Bench(most=1)
    bench.want("a", "b", "c")
    await schedule()

    bench._endings["a"].set_result(None)
    await asyncio.sleep(0)
    bench._tasks["b"].cancel()
    await schedule()

    assert bench.begun == ["a", "c"]
    await bench.close()


async def test_a_cancelled_holder_returns_its_permit() -> None:
    """A cancellation does not change the limit."""
    bench = Bench(most=2)
    bench.want("a", "b", "c")
    await schedule()

    await bench.cancel("a")

    assert (bench.going_on, bench.limiter.limit) == (["b", "c"], 2)
    await bench.close()


# ---------------------------------------------------------------- pauses


async def test_no_writer_begins_before_retry_after_is_over() -> None:
    """Neither a writer that waited already nor a new one."""
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


async def test_after_a_pause_no_more_writers_begin_than_the_limit_allows() -> None:
    """The limit was lowered while they waited."""
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
    """Of several Retry-After the latest end counts, also for writers that wait already."""
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
    """A pause of an hour, which a proxy may ask for, would look like a process that hangs."""
    bench = Bench(most=2)
    await bench.write(failure=Transient("503", retry_after_secs=3600.0))
    bench.want("a")
    await schedule()

    bench.clock.advance(secs=LONGEST_PAUSE_SECS)
    await schedule()

    assert bench.going_on == ["a"]
    await bench.close()


async def test_a_waiter_that_is_cancelled_in_a_pause_leaves_the_clock_to_the_next() -> None:
    """The first waiter watches the clock for all."""
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
    """The limit is from one to the maximum, and halved once a second at most; writers begin in order, and none waits that may begin."""
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
            names = [f"{len(order) + index}" for index in range(number)]
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
        has_permit = limiter._going_on < limiter.limit and now_secs >= limiter._paused_until
        assert not (has_permit and bench.waiting)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(halved_at))

    bench.clock.advance(secs=LONGEST_PAUSE_SECS)
    await schedule()
    while bench.going_on:
        await bench.end(bench.going_on[0])
    assert bench.waiting == []


async def test_many_writers_with_few_permits_all_end() -> None:
    """Some are cancelled and some are refused, at every stage."""
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
