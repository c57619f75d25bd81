"""How many writes may go on at the same time: as many as the API server bears.

In: writes that want to begin, and how each ended.  Out: permits, in the order they were asked for.
Owns: the limit, between 1 and `most`. A refusal halves it, slowness lowers it by a tenth, each healthy write raises it a little.
Stops: nothing to stop; a permit ends with its block, also when it is cancelled.
"""

import asyncio
from collections import Counter as Tally
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from zenwatch.contract import Clock
from zenwatch.errors import NoNamespace, Transient, WebhookFailed
from zenwatch.metrics import WRITE_CONCURRENCY

# These pass, but have nothing to do with how much the API server bears.
OF_ONE_TARGET = (WebhookFailed, NoNamespace)
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
    """`async with limiter.permit(target):` around one attempt.

    It begins at `most`: that is what the operator allowed, and if it is too much, the first refusal says so within a second.
    Any Transient but those of one target counts as a refusal: 429, 5xx, no answer and a broken connection mean that more at once would
    not help.
    What else a try may end with (a record that is gone or refused, a missing permission, a cancellation) says nothing about load.
    """

    def __init__(self, clock: Clock, *, most: int, reserve: int = 0) -> None:
        """most: at least 1. reserve: how many more may go on, each for a target that has no other: writes that hang hold no others up."""
        self._clock = clock
        self._most = float(most)
        self._reserve = reserve
        # Slowness alone goes no lower. It may be that others make the server slow: then fewer writes of ours only take longer.
        self._slow_most = max(1.0, most / 4)
        self._exact = self._most
        self._limit = most
        WRITE_CONCURRENCY.set(most)
        self._going_on = 0
        self._going_on_for: Tally[str] = Tally()
        # Only the first waiter checks the limit, and the first of a target with nothing under way the reserve; who leaves wakes them.
        self._waiting: deque[_Waiter] = deque()
        self._paused_until = self._halved_at = self._lowered_at = float("-inf")
        self._average_secs = 0.0
        self._shortest_secs = float("inf")
        self._measured_at = clock.monotonic_secs()
        self._never = asyncio.Event()

    @property
    def limit(self) -> int:
        return self._limit

    def permit(self, target: str = "") -> "Permit":
        return Permit(self, target)

    async def begin(self, target: str) -> float:
        """Return, with the time, when a try may begin; it must end in leave(). permit() sees to both."""
        now_secs = self._clock.monotonic_secs()
        if self._waiting or self._going_on >= self._limit or now_secs < self._paused_until:
            now_secs = await self._wait(_Waiter(target))
        self._going_on += 1
        self._going_on_for[target] += 1
        return now_secs

    def judge(self, began_secs: float, failure: BaseException | None) -> None:
        """A try ended like this: it moves the limit."""
        now_secs = self._clock.monotonic_secs()
        if failure is None:
            self._measure(now_secs, now_secs - began_secs)
        elif isinstance(failure, Transient) and not isinstance(failure, OF_ONE_TARGET):
            self._refuse(now_secs, failure.retry_after_secs or 0.0)

    def leave(self, target: str) -> None:
        self._going_on -= 1
        self._going_on_for[target] -= 1
        if not self._going_on_for[target]:
            del self._going_on_for[target]
        self._call_next()

    # ------------------------------------------------------------ who waits

    async def _wait(self, waiter: "_Waiter") -> float:
        self._waiting.append(waiter)
        try:
            while True:
                now_secs = self._clock.monotonic_secs()
                if not self._has_turn(waiter):
                    waiter.called.clear()
                    await waiter.called.wait()
                elif now_secs < self._paused_until:
                    # The limit may be lower when the pause is over: look again then.
                    await self._clock.wait(self._never, timeout_secs=self._paused_until - now_secs)
                else:
                    return now_secs
        finally:
            # Also when cancelled, maybe just after it was called: then the next one has to look.
            self._waiting.remove(waiter)
            self._call_next()

    def _has_turn(self, waiter: "_Waiter") -> bool:
        if self._going_on < self._limit:
            return self._waiting[0] is waiter
        return waiter is self._first_in_reserve()

    def _first_in_reserve(self) -> "_Waiter | None":
        if self._going_on >= self._limit + self._reserve:
            return None
        return next((waiter for waiter in self._waiting if waiter.target not in self._going_on_for), None)

    def _call_next(self) -> None:
        if self._waiting:
            next_waiter = self._waiting[0] if self._going_on < self._limit else self._first_in_reserve()
            if next_waiter is not None:
                next_waiter.called.set()

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


@dataclass(eq=False, slots=True)
class _Waiter:
    target: str
    called: asyncio.Event = field(default_factory=asyncio.Event)


class Permit:
    """One try, from its beginning to its end. began_secs: None before it began."""

    __slots__ = ("_is_detached", "_limiter", "_target", "began_secs")

    def __init__(self, limiter: AdaptiveLimiter, target: str) -> None:
        self._limiter = limiter
        self._target = target
        self._is_detached = False
        self.began_secs: float | None = None

    def detach(self) -> None:
        """The try goes on, without a permit, and how it ends does not move the limit: its target is slow, not the server."""
        self._is_detached = True
        self._limiter.leave(self._target)

    async def __aenter__(self) -> Self:
        self.began_secs = await self._limiter.begin(self._target)
        return self

    async def __aexit__(self, _kind: type[BaseException] | None, failure: BaseException | None, _trace: TracebackType | None) -> None:
        if not self._is_detached and self.began_secs is not None:
            self._limiter.judge(self.began_secs, failure)
            self._limiter.leave(self._target)
