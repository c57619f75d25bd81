"""What the API asks the store of records, with answers that a test chooses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zenwatch.model.refs import Origin


@dataclass
class FakeRecords:
    """open: records by origin. groups: of every dimension, the worst first. asked: what top() was called with."""

    open: Mapping[Origin, int] = field(default_factory=dict)
    groups: Sequence[Mapping[str, Any]] = ()
    total_records: int = 0
    total_bytes: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def open_counts(self) -> Mapping[Origin, int]:
        return self.open

    async def top(self, dimension: str, limit: int) -> tuple[Sequence[Mapping[str, Any]], int]:
        self.asked.append((dimension, limit))
        return self.groups[:limit], len(self.groups)
