"""A record: what an event becomes when it is stored (docs/records.md), wherever it is stored."""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from zenwatch.model.event import Event
from zenwatch.model.finding import Resource
from zenwatch.model.refs import Origin, ReportRef


class Phase(StrEnum):
    OPEN = "Open"
    RESOLVED = "Resolved"
    SUPPRESSED = "Suppressed"


class Reason(StrEnum):
    """Why a record is in its phase: status.reason.

    FIXED: its report, or another one of the same resource, was read whole and does not hold it any more.
    REPORT_GONE: the report was deleted, often with its resource, and none came in its place.
    REGROUPED: still reported, and stored under another name, because GROUP_BY_OWNER was switched.
    BELOW_THRESHOLD: still reported, but a setting or a new severity excludes it.
    NOT_SEEN_AGAIN: pushed, and not seen again for a while. REOPENED: it came back after it was resolved.
    ROLLUP_ENDED: of a record that stood for several findings: each has its own now, or is gone.
    """

    FIXED = "Fixed"
    REPORT_GONE = "ReportGone"
    REGROUPED = "Regrouped"
    BELOW_THRESHOLD = "BelowThreshold"
    NOT_SEEN_AGAIN = "NotSeenAgain"
    REOPENED = "Reopened"
    ROLLUP_ENDED = "RollupEnded"


NO_RESOURCE = Resource()
# What records are grouped by (`zenwatch top`), and the details that hold the value: the first detail that is there counts.
FACETS = {
    "cve": ("vulnID",),
    "policy": ("policy",),
    "rule": ("rule", "checkID", "ruleID", "checkId", "testNumber"),
    "image": ("image",),
    "actor": ("user",),
}
DIMENSIONS = (*FACETS, "namespace")
# A size is kept in units of so many bytes: up to 16 KiB the number is one of Python's own small integers.
SIZE_UNIT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Stored:
    """What is kept in memory of a stored record: enough to decide on its next write, and to answer what is open.

    spec_hash: of the event that was written last; empty where the record has none. report: the report that holds the finding, as text;
    empty for a pushed one. is_edited: somebody else changed what zenwatch writes, other than the status: it has to be written again.
    ttl_secs: how long a record is kept, where a person set that. cve to actor: what it is grouped by, or empty.
    first_seen, last_seen: whole seconds since 1970. version: rises with each change of the record; versions of two records do not compare.
    """

    name: str
    namespace: str
    origin: Origin
    spec_hash: str
    severity: str
    phase: str
    count: int
    reopened: int
    first_seen: int
    last_seen: int
    version: int
    report: str = ""
    is_edited: bool = False
    ttl_secs: float | None = None
    size_units: int = 0
    resource: Resource = NO_RESOURCE
    cve: str = ""
    policy: str = ""
    rule: str = ""
    image: str = ""
    actor: str = ""

    @property
    def source(self) -> str:
        return self.origin.source

    @property
    def report_ref(self) -> ReportRef | None:
        """None: the record names no report, or one that cannot be parsed."""
        return ReportRef.parse(self.report)

    @property
    def size_bytes(self) -> int:
        """Of its JSON: about what it takes in etcd."""
        return self.size_units * SIZE_UNIT_BYTES

    @property
    def seen_at(self) -> datetime:
        """last_seen as a time."""
        return datetime.fromtimestamp(self.last_seen, UTC)

    @property
    def is_open(self) -> bool:
        return self.phase == Phase.OPEN

    @property
    def is_resolved(self) -> bool:
        return self.phase == Phase.RESOLVED


@dataclass(frozen=True, slots=True)
class Expiry:
    """Which records leave: resolved ones, and those of pushed origins, ttl_secs after their last sighting. ttl_secs None: none of them.

    A record's own ttl_secs goes before. Open records of pulled origins stay: what they describe is still there.
    """

    ttl_secs: float | None
    pushed: Collection[Origin]

    def is_over(self, stored: Stored, now_secs: float) -> bool:
        if not stored.is_resolved and stored.origin not in self.pushed:
            return False
        ttl_secs = self.ttl_secs if stored.ttl_secs is None else stored.ttl_secs
        return ttl_secs is not None and stored.last_seen + ttl_secs <= now_secs


@dataclass(frozen=True, slots=True)
class Status:
    """The status that a record is to have.

    count: at least 1. reason None: unchanged. seen_at: becomes lastSeen when the status is written; None: the time of the write.
    """

    phase: str = Phase.OPEN
    count: int = 1
    reopened: int = 0
    reason: str | None = None
    seen_at: datetime | None = None

    def rebased_on(self, stored: Stored) -> "Status":
        """Adapt it to a record that somebody else has changed: a resolved record is reopened, and `reopened` never falls."""
        returns = self.phase == Phase.OPEN and stored.is_resolved
        reopened = max(self.reopened, stored.reopened + returns)
        return replace(self, reopened=reopened, reason=self.reason or (Reason.REOPENED if returns else None))

    def matches(self, stored: Stored) -> bool:
        return (self.phase, self.count, self.reopened) == (stored.phase, stored.count, stored.reopened)


def status_of_sighting(
    stored: Stored | None, *, count: int, seen_at: datetime | None = None, starts_new_occurrence: bool = False
) -> Status:
    """The status for a finding that is there now. starts_new_occurrence: reopen the record although it is still open (DEDUP_WINDOW)."""
    if stored is None:
        return Status(count=count, seen_at=seen_at)
    if stored.is_resolved or starts_new_occurrence:
        return Status(Phase.OPEN, count, stored.reopened + 1, Reason.REOPENED, seen_at)
    return Status(stored.phase, count, stored.reopened, None, seen_at)


def spec_of(event: Event) -> dict[str, Any]:
    """The record's spec. A field without a value is absent, not empty."""
    spec: dict[str, Any] = {
        "source": event.source,
        "clusterID": event.cluster_id,
        "key": event.key,
        "category": event.category,
        "severity": event.severity,
        "score": event.score,
        "eventType": event.event_type,
        "detectedAt": event.detected_at,
        "title": event.title,
    }
    if event.remediation:
        spec["remediation"] = event.remediation
    if event.references:
        spec["references"] = list(event.references)
    if resource := _resource_of(event.resource):
        spec["resource"] = resource
    spec["details"] = event.details
    return spec


def spec_hash(event: Event) -> str:
    """16 hex digits that change when the record's spec has to be written again.

    detectedAt is left out: tools that scan every day would have every record written every day.
    """
    return hash_of_spec(spec_of(event))


def hash_of_spec(spec: Mapping[str, Any]) -> str:
    """spec_hash() of a spec as it is stored."""
    hashed = {field: value for field, value in spec.items() if field != "detectedAt"}
    return hashlib.sha256(orjson.dumps(hashed, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _resource_of(resource: Resource) -> dict[str, str]:
    if not resource.kind:
        return {}
    parts = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": resource.name,
        "namespace": resource.namespace,
    }
    return {part: value for part, value in parts.items() if value}
