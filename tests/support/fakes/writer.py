"""contract.RecordWriter that gives a result only when the test does."""

import asyncio

from tests.support.tasks import patience
from zenwatch.errors import Closed
from zenwatch.model.record import Stored
from zenwatch.model.write import Envelope, Outcome, WriteResult


class HeldWriter:
    """open: the envelopes that wait for a result, oldest first. answer() gives it."""

    def __init__(self) -> None:
        self.open: list[Envelope] = []
        self.is_closed = False
        self._news = asyncio.Event()

    async def submit(self, envelope: Envelope) -> None:
        if self.is_closed:
            raise Closed("the writer accepts no more writes")
        self.open.append(envelope)
        self._news.set()

    async def until_open(self, envelopes: int) -> None:
        async with patience():
            while len(self.open) < envelopes:
                self._news.clear()
                await self._news.wait()

    def answer(self, outcome: Outcome | None, stored: Stored | None = None) -> None:
        """Give the oldest envelope its result."""
        self.open.pop(0).done(WriteResult(outcome, stored))
