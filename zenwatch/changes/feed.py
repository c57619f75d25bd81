"""The change feed in memory: what the writer confirmed, kept until every cursor has read it, and no longer than the feed is long.

In: changes that the writer confirmed.  Out: the same changes, once to each cursor, in their order.
Owns: the changes that a cursor has not read, 512 at most.
Stops: a cursor that closes; the feed has no task.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice

from zenwatch.contract import RecordChange
from zenwatch.model.event import Event
from zenwatch.model.record import Stored

# A cursor that is so far behind misses the oldest changes and says how many. About 2 KiB each.
CHANGES_KEPT = 512


class MemoryFeed:
    """contract.ChangeFeed. Without a cursor it keeps nothing."""

    def __init__(self, *, capacity_changes: int = CHANGES_KEPT) -> None:
        self._kept: deque[RecordChange] = deque(maxlen=capacity_changes)
        self._next_seq = 1
        self._cursors: set[MemoryCursor] = set()
        self._news = asyncio.Event()

    def __len__(self) -> int:
        """How many changes are kept."""
        return len(self._kept)

    def append(self, before: Stored | None, after: Stored | None, event: Event | None) -> None:
        if self._cursors:
            self._kept.append(RecordChange(self._next_seq, before, after, event))
            self._news.set()
        self._next_seq += 1

    def cursor(self) -> "MemoryCursor":
        cursor = MemoryCursor(self, self._next_seq)
        self._cursors.add(cursor)
        return cursor

    # ------------------------------------------------------------ for cursors

    def close(self, cursor: "MemoryCursor") -> None:
        self._cursors.discard(cursor)
        self.trim()

    async def wait_for(self, seq: int) -> None:
        """Return once the change of this number was appended."""
        while self._next_seq <= seq:
            self._news.clear()
            await self._news.wait()

    def read(self, seq: int, limit: int) -> Sequence[RecordChange]:
        """The kept changes from this number on."""
        first = self._kept[0].seq if self._kept else self._next_seq
        start = max(seq - first, 0)
        return list(islice(self._kept, start, start + limit))

    def trim(self) -> None:
        """Forget what every cursor has read."""
        oldest = min((cursor.next_seq for cursor in self._cursors), default=self._next_seq)
        while self._kept and self._kept[0].seq < oldest:
            self._kept.popleft()


class MemoryCursor:
    """contract.Cursor."""

    def __init__(self, feed: MemoryFeed, next_seq: int) -> None:
        self._feed = feed
        self.next_seq = next_seq
        self.missed = 0

    async def read(self, limit: int) -> Sequence[RecordChange]:
        await self._feed.wait_for(self.next_seq)
        changes = self._feed.read(self.next_seq, limit)
        self.missed += changes[0].seq - self.next_seq
        self.next_seq = changes[-1].seq + 1
        self._feed.trim()
        return changes

    def close(self) -> None:
        self._feed.close(self)
