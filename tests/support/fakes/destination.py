"""contract.Destination, kept in a list."""

from collections import deque
from collections.abc import Sequence

from zenwatch.contract import RecordChange


class ListDestination:
    """delivered: every change, in order."""

    def __init__(self) -> None:
        self.delivered: list[RecordChange] = []
        self._faults: deque[Exception] = deque()

    def fail_next(self, *errors: Exception) -> None:
        """The next deliveries raise these."""
        self._faults.extend(errors)

    async def deliver(self, changes: Sequence[RecordChange]) -> None:
        if self._faults:
            raise self._faults.popleft()
        self.delivered.extend(changes)
