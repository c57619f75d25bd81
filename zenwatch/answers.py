"""What a running zenwatch answers to questions: `zenwatch explain`, `zenwatch top`, `zenwatch doctor`.

In: a query.  Out: JSON values; BadInput for a question that makes no sense.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Callable, Mapping
from typing import Any

from zenwatch.errors import BadInput
from zenwatch.store.groups import DIMENSIONS, Groups
from zenwatch.transform.fates import Fates

# More lines than anybody reads; a program that wants all reads the records.
MOST_LINES = 1000


def answers_of(fates: Fates, groups: Groups) -> dict[str, Callable[[Mapping[str, str]], Any]]:
    """By path."""
    return {"/explain": lambda query: _explain(fates, query), "/top": lambda query: top(groups, query)}


def _explain(fates: Fates, query: Mapping[str, str]) -> list[dict[str, str]]:
    """q: a key, a record's name or an audit ID."""
    if not query.get("q"):
        raise BadInput("nothing was asked for; expected ?q= with a key, a record's name or an audit ID")
    return fates.find(query["q"])


def top(groups: Groups, query: Mapping[str, str]) -> dict[str, Any]:
    """by: one of DIMENSIONS. limit: lines."""
    dimension, limit = query.get("by", "cve"), query.get("limit", "20")
    if dimension not in DIMENSIONS:
        raise BadInput(f"by is {dimension[:40]!r}; expected one of {', '.join(DIMENSIONS)}")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_LINES:
        raise BadInput(f"limit is {limit[:40]!r}; expected a whole number from 1 to {MOST_LINES}")
    return {"by": dimension, "groups": groups.top(dimension, int(limit)), "all": groups.size(dimension)}
