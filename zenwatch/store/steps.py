"""The steps of one write: create, update, status, delete. What the store confirms is known to whoever asks, and is in the change feed."""

from zenwatch.contract import ChangeFeed, Clock, RecordCache, Store
from zenwatch.metrics import RECORDS_REOPENED, RECORDS_RESOLVED
from zenwatch.model.event import Event
from zenwatch.model.record import Status, Stored
from zenwatch.model.write import Delete, Outcome, SetStatus, Upsert, WriteRequest
from zenwatch.store.retry_queue import Progress


class StoreConflict(Exception):  # noqa: N818  no error: the submitter decides anew
    """An exact write met something else than it was made for."""

    def __init__(self, stored: Stored) -> None:
        super().__init__()
        self.stored = stored


class Steps:
    def __init__(self, store: Store, records: RecordCache, changes: ChangeFeed, clock: Clock) -> None:
        self._store = store
        self._records = records
        self._changes = changes
        self._clock = clock

    async def take(self, request: WriteRequest, progress: Progress) -> None:
        """Take the steps that progress lacks. Raises what Store does, and StoreConflict."""
        match request:
            case Upsert():
                await self._upsert(request, progress)
            case SetStatus(stored, status):
                await self._set_status(status, progress, stored)
            case Delete(stored):
                await self._store.delete(stored)
                progress.stored, progress.outcome = None, Outcome.STORED
                self._records.drop(stored.name)
                self._changes.append(stored, None, None)

    async def _upsert(self, request: Upsert, progress: Progress) -> None:
        stored = progress.stored if progress.stored is not None else await self._create(request, progress)
        if stored.spec_hash != request.spec_hash or stored.is_edited:
            updated = await self._store.update(request.event, spec_hash=request.spec_hash, stored=stored, report=request.report)
            progress.outcome = Outcome.STORED
            stored = self._confirmed(progress, stored, updated, request.event)
        await self._set_status(request.status.rebased_on(stored), progress, stored)

    async def _create(self, request: Upsert, progress: Progress) -> Stored:
        progress.creates += 1
        stored, is_new = await self._store.create(request.event, spec_hash=request.spec_hash, report=request.report)
        # The answer to an earlier try may have been lost on its way: a record with the same spec is then our own.
        is_new = is_new or (progress.creates > 1 and stored.spec_hash == request.spec_hash)
        if request.is_exact and not is_new:
            raise StoreConflict(stored)
        if is_new:
            progress.outcome = Outcome.STORED
            return self._confirmed(progress, None, stored, request.event)
        progress.stored = stored
        self._records.put(stored)
        return stored

    async def _set_status(self, status: Status, progress: Progress, before: Stored) -> None:
        if status.matches(before):
            return
        after = self._confirmed(progress, before, await self._store.set_status(before, status, now=self._clock.now()), None)
        if after.is_resolved and not before.is_resolved:
            RECORDS_RESOLVED.labels(*after.origin, status.reason or "").inc()
        RECORDS_REOPENED.labels(*after.origin).inc(max(after.reopened - before.reopened, 0))

    def _confirmed(self, progress: Progress, before: Stored | None, after: Stored, event: Event | None) -> Stored:
        """The store has the step: whoever asks or reads the feed knows it from now on."""
        progress.stored = after
        self._records.put(after)
        self._changes.append(before, after, event)
        return after
