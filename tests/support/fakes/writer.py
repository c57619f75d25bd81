"""contract.RecordWriter that answers when the test says so."""

import asyncio

from zenwatch.contract import Accounts
from zenwatch.errors import Closed
from zenwatch.model.record import Stored
from zenwatch.model.write import Envelope, Outcome, WriteResult


class HeldWriter:
    """open: the envelopes that wait for answer(), oldest first. accounts: settled by each answer, as by the real writer."""

    def __init__(self, accounts: Accounts | None = None) -> None:
        self.accounts = accounts
        self.open: list[Envelope] = []
        self.is_closed = False
        self._news = asyncio.Event()

    async def submit(self, envelope: Envelope) -> None:
        if self.is_closed:
            raise Closed("the writer takes nothing more")
        self.open.append(envelope)
        self._news.set()

    async def until_open(self, envelopes: int) -> None:
        async with asyncio.timeout(5):
            while len(self.open) < envelopes:
                self._news.clear()
                await self._news.wait()

    def answer(self, outcome: Outcome | None, stored: Stored | None = None) -> None:
        """Give the oldest envelope its result."""
        envelope = self.open.pop(0)
        if outcome is not None and envelope.entry is not None and self.accounts is not None:
            self.accounts.settle_write(envelope.entry, outcome, envelope.request.name)
        envelope.done(WriteResult(outcome, stored))
