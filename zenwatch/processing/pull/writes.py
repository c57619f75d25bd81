"""The writes of one origin: one at a time for each record, and a batch that settle() waits for."""

import asyncio
from collections.abc import Callable
from functools import partial

from zenwatch.contract import RecordWriter
from zenwatch.model.refs import Origin
from zenwatch.model.write import AccountEntry, Envelope, Outcome, SetStatus, Upsert, WriteResult

_WHY = {
    Outcome.STORED: "Its record was made, or brought up to date.",
    Outcome.REPEATED: "Its record was there already.",
    Outcome.DEAD_LETTERED: "The store refuses it for good: `zenwatch deadletters list` or the log says why.",
}

PullRequest = Upsert | SetStatus


class Batch:
    """The results that one settle() waits for."""

    def __init__(self) -> None:
        self.open = 0
        self.failed = 0
        self._empty = asyncio.Event()

    def close_one(self, *, failed: bool) -> None:
        self.open -= 1
        self.failed += failed
        if not self.open:
            self._empty.set()

    async def wait(self) -> None:
        if self.open:
            self._empty.clear()
            await self._empty.wait()


class PullWrites:
    """resolved, reopened: how many records so far."""

    def __init__(self, origin: Origin, writer: RecordWriter, *, when_not_written: Callable[[str, int], None]) -> None:
        """when_not_written(name, findings): the write has to be decided on again; so many findings still wait for it."""
        self._origin = origin
        self._writer = writer
        self._when_not_written = when_not_written
        self._in_flight: set[str] = set()
        # Of these, the ones that the store refuses for the time being: no batch waits for them.
        self._refused: set[str] = set()
        self.resolved = 0
        self.reopened = 0

    def is_in_flight(self, name: str) -> bool:
        return name in self._in_flight

    async def submit(self, request: PullRequest, findings: int, batch: Batch) -> None:
        """No write of this record may be in flight. findings: those that end with it."""
        self._in_flight.add(request.name)
        batch.open += 1
        receive = partial(self._receive, batch, request, findings)
        is_queued = False
        try:
            await self._writer.submit(Envelope(request, receive, self._entry(request, findings), waits=partial(self._wait, batch, request)))
            is_queued = True
        finally:
            if not is_queued:
                # The loop's time is up, or the process stops: the record must not stay in flight.
                receive(WriteResult(outcome=None))

    def _entry(self, request: PullRequest, findings: int) -> AccountEntry:
        if isinstance(request, SetStatus):
            # These findings were withdrawn while they waited for an earlier write of their record.
            return AccountEntry(self._origin, findings, is_withdrawn=True)
        return AccountEntry(self._origin, findings, request.event.key, _WHY)

    def _wait(self, batch: Batch, request: PullRequest) -> None:
        self._refused.add(request.name)
        batch.close_one(failed=False)

    def _receive(self, batch: Batch, request: PullRequest, findings: int, result: WriteResult) -> None:
        self._in_flight.discard(request.name)
        if result.outcome is None:
            self._when_not_written(request.name, findings)
        elif result.stored is not None:
            before, after = request.stored, result.stored
            self.resolved += after.is_resolved
            self.reopened += before is not None and after.reopened > before.reopened
        if request.name in self._refused:
            self._refused.discard(request.name)
        else:
            batch.close_one(failed=result.outcome is None and not (result.is_conflict or result.is_refused))
