"""Delete records whose time is over, and resolved records where new ones have no space.

In: what is stored; the budget.  Out: deletions to the writer, a few a second.
Owns: nothing; what was not deleted is found again.
Stops: with its task.
"""

import asyncio
from collections.abc import Iterable
from functools import partial

import structlog

from zenwatch.contract import Clock, Group, Records, RecordWriter
from zenwatch.metrics import RECORDS_DELETED
from zenwatch.model.record import Expiry, Stored
from zenwatch.model.write import Delete, Envelope, WriteResult
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.budget import Budget

log = structlog.get_logger(component="retention")

# Nobody waits for it: a record may stay so much longer than its time.
COLLECT_EVERY_SECS = 30.0
TASK = "retention"


class Retention:
    group = Group.LEADER

    def __init__(
        self,
        expiry: Expiry,
        budget: Budget,
        records: Records,
        writer: RecordWriter,
        supervisor: Supervisor,
        *,
        rate_per_sec: float,
        clock: Clock,
    ) -> None:
        """rate_per_sec: the most deletions per second."""
        self._expiry = expiry
        self._budget = budget
        self._records = records
        self._writer = writer
        self._supervisor = supervisor
        self._rate_per_sec = rate_per_sec
        self._clock = clock
        self._never = asyncio.Event()

    async def start(self) -> None:
        self._supervisor.start(TASK, self._keep_collecting)

    async def stop(self) -> None:
        await self._supervisor.stop(TASK)

    async def _keep_collecting(self) -> None:
        await self._records.wait_until_synced()
        while True:
            await self.collect()
            await self._clock.wait(self._never, timeout_secs=COLLECT_EVERY_SECS)

    async def collect(self) -> None:
        """Delete what is over; then, where space is missing, resolved records, the longest unseen first."""
        await self._delete("Expired", await self._records.expired(self._expiry, self._clock.now()))
        if missing := self._budget.missing:
            await self._delete("MadeRoom", await self._records.oldest_resolved(missing))

    async def _delete(self, reason: str, condemned: Iterable[Stored]) -> None:
        results: list[asyncio.Future[bool]] = []
        for stored in condemned:
            if await self._records.get(stored.name) != stored:
                # It changed while others were deleted.
                continue
            results.append(asyncio.get_running_loop().create_future())
            await self._writer.submit(Envelope(Delete(stored), partial(self._receive, stored, reason, results[-1])))
            await self._clock.wait(self._never, timeout_secs=1.0 / self._rate_per_sec)
        if deleted := sum(await asyncio.gather(*results)):
            log.info("records_deleted", reason=reason, count=deleted)

    def _receive(self, stored: Stored, reason: str, is_deleted: asyncio.Future[bool], result: WriteResult) -> None:
        if result.outcome is not None:
            RECORDS_DELETED.labels(*stored.origin, reason).inc()
        if not is_deleted.done():
            is_deleted.set_result(result.outcome is not None)
