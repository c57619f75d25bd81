"""How many writes may go on at the same time: as many as the API server bears.

In: writes that want to begin, and how each ended.  Out: turns, in the order they were asked for.
Owns: the limit, between 1 and `most`. A refusal halves it, slowness lowers it by a tenth, each healthy write raises it a little.
Stops: nothing to stop; a turn ends with its block, also when it is cancelled.
"""

import asyncio
from collections import deque
from types import TracebackType

from zenwatch.contract import Clock
from zenwatch.errors import Transient
from zenwatch.metrics import WRITE_CONCURRENCY

# One overload meets all the writes that are under way: it counts once.
LOWERED_EVERY_SECS = 1.0
# A longer Retry-After counts for the write that got it, not for all.
LONGEST_PAUSE_SECS = 30.0
# Slow is a try that takes longer than this, and than so many times the shortest one: it sends four requests at most, most send one.
# The first number is a guess: a busy machine that runs everything stays below it.
SLOW_SECS = 0.25
SLOW_TIMES = 5.0
# The share of one write in the average. One that was slow alone, as while etcd compacts, is no reason to act.
WEIGHT = 0.1
# The shortest time is forgotten this slowly: the API server may have moved to where an answer takes longer. A guess.
FORGOTTEN_IN_SECS = 600.0


class AdaptiveLimiter:
    """`async with limit.turn():` around one attempt.

    It begins at `most`: that is what the operator allowed, and if it is too much, the first refusal says so within a second.
    Any Transient counts as a refusal: 429, 5xx, no answer and a broken connection all mean that more at once would not help.
    What else a try may end with (a record that is gone or refused, a missing permission, a cancellation) says nothing about load.
    """

    def __init__(self, clock: Clock, *, most: int) -> None:
        """most: at least 1."""
        self._clock = clock
        self._most = float(most)
        # Slowness alone goes no lower. It may be that others make the server slow: then fewer writes of ours only take longer.
        self._slow_most = max(1.0, most / 4)
        self._exact = self._most
        self._limit = most
        WRITE_CONCURRENCY.set(most)
        self._going_on = 0
        # Only the first waiter checks the limit; who leaves wakes the next.
        self._waiting: deque[asyncio.Event] = deque()
        self._paused_until = self._halved_at = self._lowered_at = float("-inf")
        self._average_secs = 0.0
        self._shortest_secs = float("inf")
        self._measured_at = clock.monotonic_secs()
        self._never = asyncio.Event()

    @property
    def limit(self) -> int:
        return self._limit

    def permit(self) -> "Permit":
        return Permit(self)

    async def begin(self) -> float:
        """Return, with the time, when a try may begin; it must end in end(). turn() sees to both."""
        now_secs = self._clock.monotonic_secs()
        if self._waiting or self._going_on >= self._limit or now_secs < self._paused_until:
            now_secs = await self._wait()
        self._going_on += 1
        return now_secs

    def end(self, began_secs: float, failure: BaseException | None) -> None:
        now_secs = self._clock.monotonic_secs()
        self._going_on -= 1
        if failure is None:
            self._measure(now_secs, now_secs - began_secs)
        elif isinstance(failure, Transient):
            self._refuse(now_secs, failure.retry_after_secs or 0.0)
        self._call_next()

    # ------------------------------------------------------------ who waits

    async def _wait(self) -> float:
        called = asyncio.Event()
        self._waiting.append(called)
        try:
            while True:
                now_secs = self._clock.monotonic_secs()
                if self._waiting[0] is not called or self._going_on >= self._limit:
                    called.clear()
                    await called.wait()
                elif now_secs < self._paused_until:
                    # The limit may be lower when the pause is over: look again then.
                    await self._clock.wait(self._never, timeout_secs=self._paused_until - now_secs)
                else:
                    return now_secs
        finally:
            # Also when cancelled, maybe just after it was called: then the next one has to look.
            self._waiting.remove(called)
            self._call_next()

    def _call_next(self) -> None:
        if self._waiting:
            self._waiting[0].set()

    # ------------------------------------------------------------ the limit

    def _measure(self, now_secs: float, took_secs: float) -> None:
        forgotten = (now_secs - self._measured_at) / FORGOTTEN_IN_SECS
        self._measured_at = now_secs
        self._shortest_secs = min(took_secs, self._shortest_secs * (1.0 + forgotten))
        self._average_secs += (took_secs - self._average_secs) * WEIGHT
        slow_secs = max(SLOW_SECS, SLOW_TIMES * self._shortest_secs)
        if took_secs <= slow_secs or self._exact < self._slow_most:
            if self._exact < self._most:
                self._set(min(self._most, self._exact + 1.0 / self._exact))
        # A write that began before the last lowering cannot tell what that did.
        elif self._average_secs > slow_secs and now_secs - self._lowered_at >= max(LOWERED_EVERY_SECS, took_secs):
            self._lowered_at = now_secs
            self._set(max(self._slow_most, self._exact * 0.9))

    def _refuse(self, now_secs: float, retry_after_secs: float) -> None:
        self._paused_until = max(self._paused_until, now_secs + min(retry_after_secs, LONGEST_PAUSE_SECS))
        if now_secs - self._halved_at >= LOWERED_EVERY_SECS:
            self._halved_at = self._lowered_at = now_secs
            self._set(max(1.0, self._exact / 2))

    def _set(self, exact: float) -> None:
        self._exact = exact
        if int(exact) != self._limit:
            self._limit = int(exact)
            WRITE_CONCURRENCY.set(self._limit)


class Permit:
    """One try, from its beginning to its end."""

    __slots__ = ("_began_secs", "_limiter")

    def __init__(self, limiter: AdaptiveLimiter) -> None:
        self._limiter = limiter
        self._began_secs = 0.0

    async def __aenter__(self) -> None:
        self._began_secs = await self._limiter.begin()

    async def __aexit__(self, _kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None) -> None:
        self._limiter.end(self._began_secs, failure)
