"""An event: a finding in our normal form. Bounded, in UTC, with its cluster and its name."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zenwatch.model.finding import Category, Detail, Resource, Severity

NAME_DIGEST_HEX = 20


def record_name(name_prefix: str, *, cluster_id: str, source: str, key: str) -> str:
    """The record's name: the same content has the same name on every replica and after every restart."""
    digest = hashlib.sha256(f"{cluster_id}\n{source}\n{key}".encode()).hexdigest()
    return name_prefix + digest[:NAME_DIGEST_HEX]


@dataclass(frozen=True, slots=True)
class Event:
    """One finding, or several of one key merged, as it will be stored.

    name: of the record, from record_name().
    score: 0 to 100, processing/event/score.py.
    detected_at: RFC 3339 in UTC, to the second.
    details: JSON values; lists hold strings, sorted, each once.
    """

    name: str
    source: str
    cluster_id: str
    key: str
    category: Category
    severity: Severity
    score: int
    event_type: str
    detected_at: str
    title: str
    remediation: str
    references: tuple[str, ...]
    resource: Resource
    details: Mapping[str, Detail]

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Event":
        """Read back what orjson.dumps(event) wrote."""
        return cls(
            **fields
            | {
                "category": Category(fields["category"]),
                "severity": Severity(fields["severity"]),
                "references": tuple(fields["references"]),
                "resource": Resource(**fields["resource"]),
            }
        )
