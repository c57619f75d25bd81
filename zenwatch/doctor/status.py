"""What GET /status of a running zenwatch says, as far as it says it.

In: its JSON.  Out: Status, in which whatever was absent, or not of the type that was expected, is None.
Owns: nothing.
Stops: nothing to stop.

{"version": "0.1.0", "started_at": RFC 3339,
 "sources": {"falco": {"last_data_at": RFC 3339 or null, "last_post_at": RFC 3339 or null, "last_sender": "10.0.0.7", "open": 12,
                       "silent_since": RFC 3339 or null, "missing_fields": ["time"],
                       "buffer": {"used": 0, "capacity": 100, "unit": "events"} or null}},
 "budget": {"records": 1200, "records_limit": 20000, "bytes": 3000000, "bytes_limit": 268435456, "rolled_up": 0},
 "writes": {"retries": 0, "failing": false}}

A limit of 0 is none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from zenwatch.model.queue import Fill
from zenwatch.model.timestamps import parse_rfc3339


@dataclass(frozen=True)
class SourceStatus:
    last_data_at: datetime | None = None
    last_post_at: datetime | None = None
    last_sender: str = ""
    open_records: int | None = None
    silent_since: datetime | None = None
    missing_fields: tuple[str, ...] = ()
    buffer: Fill | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        fields = said.get("missing_fields")
        return cls(
            last_data_at=parse_rfc3339(said.get("last_data_at")),
            last_post_at=parse_rfc3339(said.get("last_post_at")),
            last_sender=str(said.get("last_sender") or ""),
            open_records=_number(said, "open"),
            silent_since=parse_rfc3339(said.get("silent_since")),
            missing_fields=tuple(map(str, fields)) if isinstance(fields, list) else (),
            buffer=_fill(_part(said, "buffer")),
        )


@dataclass(frozen=True)
class Budget:
    """used and limit: of records, and of bytes. rolled_up: findings that are only counted, since they had no room."""

    limits: Mapping[str, tuple[int, int]]
    rolled_up: int


@dataclass(frozen=True)
class Status:
    version: str = ""
    started_at: datetime | None = None
    sources: Mapping[str, SourceStatus] = field(default_factory=dict)
    budget: Budget | None = None
    retries: int | None = None
    is_failing: bool = False

    @classmethod
    def of(cls, said: Any) -> Self:
        said = said if isinstance(said, Mapping) else {}
        sources, writes = _part(said, "sources"), _part(said, "writes")
        return cls(
            version=str(said.get("version") or ""),
            started_at=parse_rfc3339(said.get("started_at")),
            sources={name: SourceStatus.of(_part(sources, name)) for name in sources},
            budget=_budget(_part(said, "budget")),
            retries=_number(writes, "retries"),
            is_failing=writes.get("failing") is True,
        )


def _budget(said: Mapping[str, Any]) -> Budget | None:
    limits = {
        unit: (used, limit)
        for unit in ("records", "bytes")
        if (used := _number(said, unit)) is not None and (limit := _number(said, f"{unit}_limit"))
    }
    return Budget(limits, _number(said, "rolled_up") or 0) if said else None


def _fill(said: Mapping[str, Any]) -> Fill | None:
    used, capacity = _number(said, "used"), _number(said, "capacity")
    return Fill(used, capacity, str(said.get("unit") or "events")) if used is not None and capacity else None


def _part(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = said.get(name)
    return part if isinstance(part, Mapping) else {}


def _number(said: Mapping[str, Any], name: str) -> int | None:
    number = said.get(name)
    return number if isinstance(number, int) and not isinstance(number, bool) else None
