"""How many pushed events of one origin are accepted and not settled: what memory would lose, and what drain() waits for."""

import asyncio

from zenwatch.contract import Accounts
from zenwatch.model.refs import Origin
from zenwatch.model.write import Outcome


class InFlight:
    """accepted: offered or read from disk, and not settled. received: of those, the ones that have left the inbox."""

    def __init__(self, origin: Origin, accounts: Accounts, *, is_durable: bool) -> None:
        """is_durable: an event in the inbox is safe on disk."""
        self._origin = origin
        self._accounts = accounts
        self._is_durable = is_durable
        self._accepted = 0
        self._received = 0
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def is_busy(self) -> bool:
        """An event that has left the inbox, or that only memory holds, is not settled."""
        return bool(self._received if self._is_durable else self._accepted)

    def accept(self, events: int) -> None:
        self._accounts.receive(self._origin, events)
        self._accepted += events
        self._update()

    def receive(self, events: int) -> None:
        """So many have left the inbox."""
        self._received += events
        self._update()

    def settle(self, outcome: Outcome, events: int) -> None:
        """The events ended without a write of their own."""
        self._accounts.settle(self._origin, outcome, events)
        self.forget(events)

    def forget(self, events: int) -> None:
        """The writer has settled the events in the accounts."""
        self._accepted -= events
        self._received -= events
        self._update()

    def lose(self) -> None:
        """The process ends: what only memory holds is lost with it."""
        if self._accepted and not self._is_durable:
            self._accounts.lose(self._origin, "shutdown", self._accepted)
            self._accepted = self._received = 0

    async def wait_until_idle(self) -> None:
        await self._is_idle.wait()

    def _update(self) -> None:
        if self.is_busy:
            self._is_idle.clear()
        else:
            self._is_idle.set()
