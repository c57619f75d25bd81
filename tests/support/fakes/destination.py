"""contract.Destination, kept in a bounded list."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from zenwatch.errors import Permanent


class ListDestination:
    """delivered: every record, in order. What exceeds the capacity is refused with Permanent."""

    def __init__(self, *, capacity_records: int) -> None:
        self.delivered: list[Mapping[str, Any]] = []
        self._capacity_records = capacity_records
        self._faults: deque[Exception] = deque()

    def fail_next(self, error: Exception) -> None:
        self._faults.append(error)

    async def deliver(self, records: Sequence[Mapping[str, Any]]) -> None:
        if self._faults:
            raise self._faults.popleft()
        if len(self.delivered) + len(records) > self._capacity_records:
            raise Permanent(f"more than {self._capacity_records} records")
        self.delivered.extend(records)
