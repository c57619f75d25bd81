"""When each record is written next: at once the first time, then no more often than every so many seconds."""

import asyncio
import heapq
from collections import OrderedDict

from zenwatch.contract import Clock


class WriteSchedule:
    """gap_secs: between two writes of a name. A change counts for names that ask from then on."""

    def __init__(self, clock: Clock, *, gap_secs: float) -> None:
        self.gap_secs = gap_secs
        self._clock = clock
        # The earliest first. A name that asked again is in it twice; _due shows which entry counts.
        self._heap: list[tuple[float, int, str]] = []
        self._due: dict[str, float] = {}
        self._asked = 0
        self._written_at: OrderedDict[str, float] = OrderedDict()
        self._is_flushing = False
        self._news = asyncio.Event()

    def ask(self, name: str, *, at_once: bool = False) -> None:
        """The name has something to write. A name that already waits keeps its time, unless the new time is earlier."""
        now = self._clock.monotonic_secs()
        due = now if at_once else max(now, self._written_at.get(name, float("-inf")) + self.gap_secs)
        if due < self._due.get(name, float("inf")):
            self._due[name] = due
            self._asked += 1
            heapq.heappush(self._heap, (due, self._asked, name))
            self._news.set()

    def wrote(self, name: str) -> None:
        now = self._clock.monotonic_secs()
        self._written_at[name] = now
        self._written_at.move_to_end(name)
        # Older writes delay nothing any more.
        while self._written_at and next(iter(self._written_at.values())) < now - self.gap_secs:
            self._written_at.popitem(last=False)

    def flush(self) -> None:
        """Every name that waits is due now."""
        self._is_flushing = True
        self._news.set()

    async def next(self, most: int) -> list[str]:
        """Wait until a name is due; remove and return it with the other due names, at most `most`."""
        while not (names := self._take_due(most)):
            self._news.clear()
            if not self._heap:
                self._is_flushing = False
                await self._news.wait()
            else:
                await self._clock.wait(self._news, timeout_secs=self._heap[0][0] - self._clock.monotonic_secs())
        return names

    def _take_due(self, most: int) -> list[str]:
        now = self._clock.monotonic_secs()
        names: list[str] = []
        while self._heap and len(names) < most:
            due, _, name = self._heap[0]
            if self._due.get(name) != due:
                # The name asked again for an earlier time, and was returned then.
                heapq.heappop(self._heap)
                continue
            if due > now and not self._is_flushing:
                break
            heapq.heappop(self._heap)
            del self._due[name]
            names.append(name)
        return names
