"""Take record changes from the feed to one destination, in order.

In: the change feed.  Out: batches of changes to a Destination; a batch that could not be delivered is delivered again.
Owns: its cursor in the feed.
Stops: with its task; what was not delivered then is not delivered.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from zenwatch.contract import ChangeFeed, Clock, Cursor, Destination, Group, RecordChange
from zenwatch.errors import Permanent, Transient, first_line
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import Supervisor

log = structlog.get_logger(component="dispatcher")

BATCH_CHANGES = 100


class Dispatcher:
    group = Group.LEADER

    def __init__(self, name: str, feed: ChangeFeed, destination: Destination, supervisor: Supervisor, *, clock: Clock) -> None:
        """name: of the destination, for the log."""
        self._name = name
        self._feed = feed
        self._destination = destination
        self._supervisor = supervisor
        self._clock = clock
        self._cursor: Cursor | None = None
        self._never = asyncio.Event()

    async def start(self) -> None:
        # The cursor exists before the first write, so that the first change is delivered too.
        self._cursor = self._feed.cursor()
        self._supervisor.start(f"deliver/{self._name}", partial(self._keep_delivering, self._cursor))

    async def stop(self) -> None:
        await self._supervisor.stop(f"deliver/{self._name}")
        if self._cursor is not None:
            self._cursor.close()

    async def _keep_delivering(self, cursor: Cursor) -> None:
        missed = 0
        while True:
            changes = await cursor.read(BATCH_CHANGES)
            if cursor.missed != missed:
                log.warning("changes_missed", name=self._name, count=cursor.missed - missed, reason="the destination is too slow")
                missed = cursor.missed
            await self._deliver(changes)

    async def _deliver(self, changes: Sequence[RecordChange]) -> None:
        attempt = 0
        while True:
            try:
                await self._destination.deliver(changes)
            except Transient as exc:
                attempt += 1
                await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, exc))
            except Permanent as exc:
                log.error("changes_not_delivered", name=self._name, count=len(changes), error=first_line(exc))  # noqa: TRY400 - the destination's answer, not a fault here
                return
            else:
                return
