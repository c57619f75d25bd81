"""What the API asks the store of records."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from zenwatch.model.refs import Origin


class Records(Protocol):
    async def open_counts(self) -> Mapping[Origin, int]:
        """How many open records each origin has."""
        ...

    async def top(self, dimension: str, limit: int) -> tuple[Sequence[Mapping[str, Any]], int]:
        """Groups of open records, the worst first, at most `limit`; and how many groups there are."""
        ...

    @property
    def total_records(self) -> int: ...

    @property
    def total_bytes(self) -> int:
        """About the size of all records as JSON."""
        ...
