"""Resolve pushed records that were not seen again for a while: no tool reports that an attack is over.

In: the records of one origin.  Out: status changes to the writer.
Owns: nothing.
Stops: with its task; what was not written is found again.
"""

import asyncio
from datetime import timedelta

from zenwatch.contract import Clock, Group, Records, RecordWriter
from zenwatch.model.record import Phase, Reason, Status
from zenwatch.model.refs import Origin
from zenwatch.model.write import Envelope, SetStatus, WriteResult
from zenwatch.runtime.supervise import Supervisor

# Nobody waits for it: a record may be open so much longer than its time.
CHECK_EVERY_SECS = 60.0


class InactivityResolver:
    group = Group.LEADER

    def __init__(
        self, origin: Origin, records: Records, writer: RecordWriter, supervisor: Supervisor, *, resolve_after_secs: float, clock: Clock
    ) -> None:
        self._origin = origin
        self._records = records
        self._writer = writer
        self._supervisor = supervisor
        self._resolve_after_secs = resolve_after_secs
        self._clock = clock
        self._task = f"inactivity/{origin}"
        self._never = asyncio.Event()

    async def start(self) -> None:
        self._supervisor.start(self._task, self._keep_resolving)

    async def stop(self) -> None:
        await self._supervisor.stop(self._task)

    async def _keep_resolving(self) -> None:
        await self._records.wait_until_synced()
        while True:
            await self.resolve()
            await self._clock.wait(self._never, timeout_secs=min(CHECK_EVERY_SECS, self._resolve_after_secs))

    async def resolve(self) -> None:
        """Submit what is inactive now. A sighting at the same time wins, because the change names the version that it was made for."""
        latest = self._clock.now() - timedelta(seconds=self._resolve_after_secs)
        for stored in await self._records.open_not_seen_since(self._origin, latest):
            # The last sighting stays as it was: retention counts from there.
            status = Status(Phase.RESOLVED, stored.count, stored.reopened, Reason.NOT_SEEN_AGAIN, stored.seen_at)
            await self._writer.submit(Envelope(SetStatus(stored, status), _ignore))


def _ignore(_result: WriteResult) -> None:
    """What was not written is found again."""
