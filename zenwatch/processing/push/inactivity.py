"""Resolve pushed records that were not seen again for a while: nobody tells when an attack is over.

In: the records of one source, from the index.  Out: changes to the writer.
Owns: nothing.
Stops: with its task; what was not written is found again.
"""

import asyncio

from zenwatch.contract import Clock, Index, RecordWriter
from zenwatch.model.record import Phase, Reason, Status
from zenwatch.model.write import Envelope, SetStatus, WriteResult

# Nobody waits for it: a record may be open so much longer than its time.
LOOK_EVERY_SECS = 60.0


class InactivityResolver:
    def __init__(self, source: str, *, resolve_after_secs: float, index: Index, writer: RecordWriter, clock: Clock) -> None:
        self._source = source
        self._resolve_after_secs = resolve_after_secs
        self._index = index
        self._writer = writer
        self._clock = clock
        self._never = asyncio.Event()

    async def keep_looking(self) -> None:
        await self._index.wait_until_synced()
        while True:
            await self.resolve()
            await self._clock.wait(self._never, timeout_secs=min(LOOK_EVERY_SECS, self._resolve_after_secs))

    async def resolve(self) -> None:
        """Hand over what is quiet now. A sighting that comes at the same time wins: the change names the version that it was made for."""
        latest = self._clock.now().timestamp() - self._resolve_after_secs
        for stored in self._index.of_source(self._source):
            if stored.is_open and stored.last_seen <= latest:
                # When it was last seen stays as it was: retention counts from there.
                status = Status(Phase.RESOLVED, stored.count, stored.reopened, Reason.NOT_SEEN_AGAIN, stored.seen_at)
                await self._writer.submit(Envelope(SetStatus(stored, status), self._receive))

    def _receive(self, receipt: WriteResult) -> None:
        if receipt.stored is not None:
            self._index.put(receipt.stored)
