"""GET /top: open records in groups, the worst first, for `zenwatch top`."""

from collections.abc import Mapping
from typing import Any

from zenwatch.contract import RecordCounts
from zenwatch.errors import BadInput
from zenwatch.model.record import DIMENSIONS

# More lines than a person reads; a program that needs all of them reads the records.
MOST_LINES = 1000


async def top(records: RecordCounts, query: Mapping[str, str]) -> dict[str, Any]:
    """?by= is one of DIMENSIONS, ?limit= a number of lines."""
    dimension, limit = query.get("by", "cve"), query.get("limit", "20")
    if dimension not in DIMENSIONS:
        raise BadInput(f"by is {dimension[:40]!r}; expected one of {', '.join(DIMENSIONS)}")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_LINES:
        raise BadInput(f"limit is {limit[:40]!r}; expected a whole number from 1 to {MOST_LINES}")
    groups, total = await records.top(dimension, int(limit))
    return {"by": dimension, "groups": groups, "all": total}
