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
from zenwatch.metrics import RECORD_WRITE_RETRIES
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.housekeeping import Housekeeping
from zenwatch.runtime.pipelines import MonitoredSource, Services
from zenwatch.store.crd.top import DIMENSIONS, Groups

# More lines than anybody reads; a program that wants all reads the records.
MOST_LINES = 1000


def introspection_routes(services: Services, housekeeping: Housekeeping) -> dict[str, Callable[[Mapping[str, str]], Any]]:
    """By path."""
    started_at = services.clock.now()
    return {
        "/explain": lambda query: _explain(services.outcome_log, query),
        "/top": lambda query: top(services.index.groups, query),
        "/status": lambda _query: _status(services, housekeeping, started_at),
    }


def _explain(outcome_log: OutcomeLog, query: Mapping[str, str]) -> list[dict[str, str]]:
    """q: a key, a record's name or an audit ID."""
    if not query.get("q"):
        raise BadInput("nothing was asked for; expected ?q= with a key, a record's name or an audit ID")
    return outcome_log.find(query["q"])


def top(groups: Groups, query: Mapping[str, str]) -> dict[str, Any]:
    """by: one of DIMENSIONS. limit: lines."""
    dimension, limit = query.get("by", "cve"), query.get("limit", "20")
    if dimension not in DIMENSIONS:
        raise BadInput(f"by is {dimension[:40]!r}; expected one of {', '.join(DIMENSIONS)}")
    if not limit.isdecimal() or not 1 <= int(limit) <= MOST_LINES:
        raise BadInput(f"limit is {limit[:40]!r}; expected a whole number from 1 to {MOST_LINES}")
    return {"by": dimension, "groups": groups.top(dimension, int(limit)), "all": groups.size(dimension)}


def _status(services: Services, housekeeping: Housekeeping, started_at: datetime) -> dict[str, Any]:
    """As doctor/status.py reads it."""
    open_records = Tally(stored.source for stored in services.index.all() if stored.is_open)
    budget = services.budget
    return {
        "version": version("zenwatch"),
        "started_at": format_rfc3339(started_at),
        "sources": {one.monitor.origin.source: _source(one, housekeeping, open_records) for one in housekeeping.monitored},
        "budget": {
            "records": len(services.index),
            "records_limit": budget.records_limit,
            "bytes": services.index.size_bytes,
            "bytes_limit": budget.bytes_limit,
            "rolled_up": budget.rolled_up,
        },
        "writes": {"retries": int(_value_of_retries()), "failing": services.writer.is_failing},
    }


def _source(one: MonitoredSource, housekeeping: Housekeeping, open_records: Mapping[str, int]) -> dict[str, Any]:
    monitor = one.monitor
    fill = one.fill() if one.fill else None
    return {
        "last_data_at": _said(monitor.silence.last_data_at),
        "last_post_at": _said(monitor.last_post_at),
        "last_sender": monitor.last_sender,
        "open": open_records.get(monitor.origin.source, 0),
        "silent_since": _said(housekeeping.silent_since(monitor.origin.source)),
        "missing_fields": list(monitor.drift.missing),
        "buffer": {"used": fill.used, "capacity": fill.capacity, "unit": fill.unit} if fill else None,
    }


def _said(moment: datetime | None) -> str | None:
    return format_rfc3339(moment) if moment is not None else None


def _value_of_retries() -> float:
    [metric] = RECORD_WRITE_RETRIES.collect()
    return next(sample.value for sample in metric.samples if sample.name.endswith("_total"))
