"""A record: the ZenAgentEvent object that an event becomes, to the letter of the CRD in deployments/crds."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from sys import intern
from typing import Any

import orjson

from zenwatch.model.event import Event
from zenwatch.model.finding import Resource
from zenwatch.model.timestamps import unix_secs

GROUP = "zen.kube-zen.io"
VERSION = "v1"
KIND = "ZenAgentEvent"
PLURAL = "zenagentevents"
CLUSTER_LABEL = f"{GROUP}/cluster"
SPEC_HASH_ANNOTATION = f"{GROUP}/spec-hash"
# Which report said it last: resource/namespace/name. After a restart only that tells whether the report is there and was read.
REPORT_ANNOTATION = f"{GROUP}/report"
# What the API server takes as a namespace's name.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Phase(StrEnum):
    OPEN = "Open"
    RESOLVED = "Resolved"
    SUPPRESSED = "Suppressed"


class Reason(StrEnum):
    """Why a record is in its phase: status.reason.

    FIXED: its report, or another one of the same resource, was read whole and does not hold it any more.
    REPORT_GONE: the report was deleted, often with its resource, and none came in its place.
    BELOW_THRESHOLD: still reported, but a setting or a new severity excludes it.
    NOT_SEEN_AGAIN: pushed, and not seen again for a while. REOPENED: it came back after it was resolved.
    ROLLUP_ENDED: of a record that stood for several findings: each has its own now, or is gone.
    """

    FIXED = "Fixed"
    REPORT_GONE = "ReportGone"
    BELOW_THRESHOLD = "BelowThreshold"
    NOT_SEEN_AGAIN = "NotSeenAgain"
    REOPENED = "Reopened"
    ROLLUP_ENDED = "RollupEnded"


NO_RESOURCE = Resource()
# Which says how long a record is kept, in place of EVENT_TTL.
TTL_ANNOTATION = f"{GROUP}/ttl"
# What records are grouped by (`zenwatch top`), and the details that the sources name it by: the first one that is there counts.
FACETS = {
    "cve": ("vulnID",),
    "policy": ("policy",),
    "rule": ("rule", "checkID", "ruleID", "checkId", "testNumber"),
    "image": ("image",),
    "actor": ("user",),
}
# Sizes are remembered in units of so many bytes: up to 16 KiB that is one of Python's own small integers.
_UNIT_BYTES = 64


@dataclass(frozen=True, slots=True)
class Stored:
    """What is remembered of a stored record: enough to know whether it must be written again, and to answer what is open.

    spec_hash: of the event that was written last; empty where the record does not tell. report: that said it; empty for pushed ones.
    ttl: how long it is kept, where it says so itself. cve to actor: what it is grouped by; empty where it has none.
    first_seen, last_seen: in whole seconds since 1970. version: rises with every change of this record; two records' do not compare.
    """

    name: str
    namespace: str
    source: str
    spec_hash: str
    severity: str
    phase: str
    count: int
    reopened: int
    first_seen: int
    last_seen: int
    version: int
    report: str = ""
    ttl: str = ""
    size_units: int = 0
    resource: Resource = NO_RESOURCE
    cve: str = ""
    policy: str = ""
    rule: str = ""
    image: str = ""
    actor: str = ""

    @property
    def size_bytes(self) -> int:
        """Of its JSON: about what it takes in etcd."""
        return self.size_units * _UNIT_BYTES

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
class Status:
    """What a record's status is to become.

    count: at least 1. reason None: as it is. seen_at: becomes lastSeen where the status is written; None: the time of the write.
    """

    phase: str = Phase.OPEN
    count: int = 1
    reopened: int = 0
    reason: str | None = None
    seen_at: datetime | None = None

    def rebased_on(self, stored: Stored) -> "Status":
        """The same where somebody else was quicker: what is open again was reopened, and no reopening is taken back."""
        returns = self.phase == Phase.OPEN and stored.is_resolved
        reopened = max(self.reopened, stored.reopened + returns)
        return replace(self, reopened=reopened, reason=self.reason or (Reason.REOPENED if returns else None))

    def matches(self, stored: Stored) -> bool:
        return (self.phase, self.count, self.reopened) == (stored.phase, stored.count, stored.reopened)


def status_of_sighting(
    stored: Stored | None, *, count: int, seen_at: datetime | None = None, starts_new_occurrence: bool = False
) -> Status:
    """Of a finding that is there now. is_news: it counts as having come back although its record is still open (DEDUP_WINDOW)."""
    if stored is None:
        return Status(count=count, seen_at=seen_at)
    if stored.is_resolved or starts_new_occurrence:
        return Status(Phase.OPEN, count, stored.reopened + 1, Reason.REOPENED, seen_at)
    return Status(stored.phase, count, stored.reopened, None, seen_at)


def namespace_of(event: Event, *, own_namespace: str) -> str:
    """Where the record belongs: with its resource, or in our own namespace where that has none that could exist."""
    return event.resource.namespace if _NAMESPACE.fullmatch(event.resource.namespace) else own_namespace


def spec_of(event: Event) -> dict[str, Any]:
    """The record's spec. What the tool did not say is absent, not empty."""
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
    spec = spec_of(event)
    del spec["detectedAt"]
    return hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def object_of(event: Event, *, namespace: str, hash_of_spec: str, report: str = "") -> dict[str, Any]:
    """The whole object as it is created. It has no status: the CRD's defaults are what a new record needs."""
    annotations = {SPEC_HASH_ANNOTATION: hash_of_spec} | ({REPORT_ANNOTATION: report} if report else {})
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": event.name,
            "namespace": namespace,
            "labels": {
                "source": event.source,
                "category": event.category,
                "severity": event.severity,
                "app.kubernetes.io/managed-by": "zenwatch",
                CLUSTER_LABEL: event.cluster_id,
            },
            "annotations": annotations,
        },
        "spec": spec_of(event),
    }


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


def stored_of(record: Mapping[str, Any]) -> Stored:
    """What is remembered of a record as the API server sends it. What every record of a group says is held once."""
    metadata, spec, status = record["metadata"], record.get("spec") or {}, record.get("status") or {}
    annotations = metadata.get("annotations") or {}
    first_seen = unix_secs(status.get("firstSeen")) or unix_secs(metadata.get("creationTimestamp"))
    return Stored(
        name=metadata["name"],
        namespace=intern(metadata["namespace"]),
        source=intern(spec.get("source") or ""),
        spec_hash=annotations.get(SPEC_HASH_ANNOTATION, ""),
        severity=intern(spec.get("severity") or ""),
        phase=intern(status.get("phase") or Phase.OPEN.value),
        count=int(status.get("count") or 1),
        reopened=int(status.get("reopened") or 0),
        first_seen=first_seen,
        last_seen=max(first_seen, unix_secs(status.get("lastSeen"))),
        version=int(metadata["resourceVersion"]),
        report=intern(annotations.get(REPORT_ANNOTATION, "")),
        ttl=intern(annotations.get(TTL_ANNOTATION, "")),
        size_units=len(orjson.dumps(record)) // _UNIT_BYTES + 1,
        resource=_shared_resource(*((spec.get("resource") or {}).get(part, "") for part in ("apiVersion", "kind", "name", "namespace"))),
        **_facets_of(spec.get("details") or {}),
    )


@lru_cache(maxsize=4096)
def _shared_resource(api_version: str, kind: str, name: str, namespace: str) -> Resource:
    return Resource(api_version, kind, name, namespace)


def _facets_of(details: Mapping[str, Any]) -> dict[str, str]:
    return {facet: intern(str(next((details[name] for name in names if details.get(name)), ""))) for facet, names in FACETS.items()}
