"""What a running zenwatch answers to questions: `zenwatch explain`, `zenwatch top`, `zenwatch doctor`.

In: a query.  Out: JSON values; BadInput for a question that makes no sense.
Owns: nothing.
Stops: nothing to stop.
"""

from collections import Counter as Tally
from collections.abc import Callable, Mapping
from datetime import datetime
from importlib.metadata import version
from typing import Any

from zenwatch.errors import BadInput
from zenwatch.lines import Listening, Trunk
from zenwatch.metrics import RECORD_WRITE_RETRIES
from zenwatch.model.event import rfc3339
from zenwatch.store.groups import DIMENSIONS, Groups
from zenwatch.transform.fates import Fates
from zenwatch.upkeep import Upkeep

# More lines than anybody reads; a program that wants all reads the records.
MOST_LINES = 1000


def answers_of(trunk: Trunk, upkeep: Upkeep) -> dict[str, Callable[[Mapping[str, str]], Any]]:
    """By path."""
    started_at = trunk.clock.now()
    return {
        "/explain": lambda query: _explain(trunk.fates, query),
        "/top": lambda query: top(trunk.index.groups, query),
        "/status": lambda _query: _status(trunk, upkeep, started_at),
    }


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


def _status(trunk: Trunk, upkeep: Upkeep, started_at: datetime) -> dict[str, Any]:
    """As doctor/status.py reads it."""
    open_records = Tally(stored.source for stored in trunk.index.all() if stored.is_open)
    budget = trunk.budget
    return {
        "version": version("zenwatch"),
        "started_at": rfc3339(started_at),
        "sources": {one.voice.source: _source(one, upkeep, open_records) for one in upkeep.listening},
        "budget": {
            "records": len(trunk.index),
            "records_limit": budget.records_limit,
            "bytes": trunk.index.size_bytes,
            "bytes_limit": budget.bytes_limit,
            "rolled_up": budget.rolled_up,
        },
        "writes": {"retries": int(_value_of_retries()), "failing": trunk.writer.is_failing},
    }


def _source(one: Listening, upkeep: Upkeep, open_records: Mapping[str, int]) -> dict[str, Any]:
    voice = one.voice
    fill = one.fill() if one.fill else None
    return {
        "last_data_at": _said(voice.habit.last_data_at),
        "last_post_at": _said(voice.last_post_at),
        "last_sender": voice.last_sender,
        "open": open_records.get(voice.source, 0),
        "silent_since": _said(upkeep.silent_since(voice.source)),
        "missing_fields": list(voice.drift.missing),
        "buffer": {"used": fill.used, "capacity": fill.capacity, "unit": fill.unit} if fill else None,
    }


def _said(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment is not None else None


def _value_of_retries() -> float:
    [metric] = RECORD_WRITE_RETRIES.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_total"))
