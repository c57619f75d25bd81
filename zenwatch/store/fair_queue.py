"""Envelopes on their way to a worker: targets take turns, and a target whose writes hang leaves workers to the others.

In: envelopes, each with the target of its write.  Out: the same, to workers; those of one target in the order in which they came.
Owns: what waits, and how many workers each target has.
Stops: join() returns when every envelope was taken and is done.
"""

import asyncio
from collections import Counter as Tally
from collections import OrderedDict, deque
from collections.abc import Iterator

from zenwatch.model.write import Envelope


class FairQueue:
    def __init__(self, *, most_busy: int, reserve: int, capacity: int) -> None:
        """most_busy: how many workers one target may have, and all together. reserve: beyond that, one for a target that has none.

        capacity: how many envelopes wait; a target with none may add one more, up to twice as many in all.
        """
        self._most_busy = most_busy
        self._reserve = reserve
        self._capacity = capacity
        self._waiting: OrderedDict[str, deque[Envelope]] = OrderedDict()
        self._size = 0
        self._busy: Tally[str] = Tally()
        self._unfinished = 0
        self._getters: deque[asyncio.Future[None]] = deque()
        self._space = asyncio.Event()
        self._is_done = asyncio.Event()
        self._is_done.set()

    async def put(self, target: str, envelope: Envelope) -> None:
        """Wait while the queue is full."""
        while not self._has_space(target):
            self._space.clear()
            await self._space.wait()
        self._waiting.setdefault(target, deque()).append(envelope)
        self._size += 1
        self._unfinished += 1
        self._is_done.clear()
        self._wake_one()

    async def get(self) -> tuple[str, Envelope]:
        """The worker is busy with this target until done() or detach()."""
        while (target := self._next_target()) is None:
            getter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._getters.append(getter)
            try:
                await getter
            finally:
                if getter in self._getters:
                    self._getters.remove(getter)
                elif getter.cancelled() or getter.done():
                    # Maybe it was woken and cancelled at once: then another one has to look.
                    self._wake_one()
        self._busy[target] += 1
        envelope = self._waiting[target].popleft()
        # Targets take turns.
        self._waiting.move_to_end(target)
        if not self._waiting[target]:
            del self._waiting[target]
        self._size -= 1
        self._space.set()
        self._wake_one()
        return target, envelope

    def detach(self, target: str) -> None:
        """The worker goes on with its envelope, and counts as busy no more."""
        self._busy[target] -= 1
        if not self._busy[target]:
            del self._busy[target]
        self._wake_one()

    def done(self, target: str, *, was_detached: bool = False) -> None:
        """Every envelope that was taken ends with this."""
        if not was_detached:
            self.detach(target)
        self._unfinished -= 1
        if not self._unfinished:
            self._is_done.set()

    async def join(self) -> None:
        await self._is_done.wait()

    def _has_space(self, target: str) -> bool:
        return self._size < self._capacity or (target not in self._waiting and self._size < 2 * self._capacity)

    def _next_target(self) -> str | None:
        busy = self._busy.total()
        return next(self._targets_with_turn(busy), None)

    def _targets_with_turn(self, busy: int) -> Iterator[str]:
        """Whose envelope may be taken, in the order of turns."""
        if busy < self._most_busy:
            yield from self._waiting
        elif busy < self._most_busy + self._reserve:
            yield from (target for target in self._waiting if target not in self._busy)

    def _wake_one(self) -> None:
        if self._next_target() is None:
            return
        while self._getters:
            getter = self._getters.popleft()
            if not getter.done():
                getter.set_result(None)
                return
