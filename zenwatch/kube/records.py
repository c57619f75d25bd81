"""A record as a ZenAgentEvent object: made and read to the letter of the CRD in deployments/crds (docs/records.md)."""

import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from sys import intern
from typing import Any

import orjson
import structlog

from zenwatch.config.env import seconds_of
from zenwatch.kube.kinds import RECORDS
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource
from zenwatch.model.record import FACETS, SIZE_UNIT_BYTES, Phase, Stored, hash_of_spec, spec_of
from zenwatch.model.refs import Origin, ReportRef
from zenwatch.model.timestamps import unix_secs

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
CLUSTER_LABEL = f"{RECORDS.group}/cluster"
SPEC_HASH_ANNOTATION = f"{RECORDS.group}/spec-hash"
log = structlog.get_logger(component="records")

# The report that held the finding last: kind/namespace/name. After a restart only this shows whether that report is there and was read.
REPORT_ANNOTATION = f"{RECORDS.group}/report"
# How long the record is kept, in place of EVENT_TTL.
TTL_ANNOTATION = f"{RECORDS.group}/ttl"
# A person may write any number up to the largest of 64 bits; what zenwatch adds to it must still be one.
_MOST_COUNT = 2**62
# What the API server accepts as a namespace's name.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def namespace_of(event: Event, *, own_namespace: str) -> str:
    """Where the record belongs: with its resource, or in our own namespace where that has none that could exist."""
    return event.resource.namespace if _NAMESPACE.fullmatch(event.resource.namespace) else own_namespace


def object_of(event: Event, *, namespace: str, hash_of_spec: str, report: ReportRef | None = None) -> dict[str, Any]:
    """The whole object as it is created. It has no status: the CRD's defaults are what a new record needs."""
    annotations = {SPEC_HASH_ANNOTATION: hash_of_spec} | ({REPORT_ANNOTATION: str(report)} if report else {})
    return {
        "apiVersion": f"{RECORDS.group}/{RECORDS.version}",
        "kind": RECORDS.kind,
        "metadata": {
            "name": event.name,
            "namespace": namespace,
            "labels": labels_of(event.source, event.category, event.severity, event.cluster_id),
            "annotations": annotations,
        },
        "spec": spec_of(event),
    }


def labels_of(source: str, category: str, severity: str, cluster_id: str) -> dict[str, str]:
    return {"source": source, "category": category, "severity": severity, MANAGED_BY_LABEL: "zenwatch", CLUSTER_LABEL: cluster_id}


def missing_labels(record: Mapping[str, Any]) -> dict[str, str]:
    """The labels that the record should have by its spec, and has not. A person may add others."""
    spec, labels = record["spec"], record["metadata"].get("labels") or {}
    wanted = labels_of(spec.get("source", ""), spec.get("category", ""), spec.get("severity", ""), spec.get("clusterID", ""))
    return {} if wanted.items() <= labels.items() else {name: value for name, value in wanted.items() if labels.get(name) != value}


def stored_of(record: Mapping[str, Any]) -> Stored:
    """Read a record as the API server sends it. Values that many records share are kept once."""
    metadata, spec, status = record["metadata"], record.get("spec") or {}, record.get("status") or {}
    annotations = metadata.get("annotations") or {}
    created = unix_secs(metadata.get("creationTimestamp"))
    # zenwatch writes the time of the creation. A record that was restored is younger than its first sighting; none is older.
    first_seen = min(unix_secs(status.get("firstSeen")) or created, created or sys.maxsize)
    return Stored(
        name=metadata["name"],
        namespace=intern(metadata["namespace"]),
        origin=_shared_origin(spec.get("clusterID") or "", spec.get("source") or ""),
        spec_hash=annotations.get(SPEC_HASH_ANNOTATION, ""),
        severity=intern(spec.get("severity") or ""),
        phase=intern(status.get("phase") or Phase.OPEN.value),
        count=min(status.get("count", 1), _MOST_COUNT),
        reopened=min(status.get("reopened", 0), _MOST_COUNT),
        first_seen=first_seen,
        last_seen=max(first_seen, unix_secs(status.get("lastSeen"))),
        version=int(metadata["resourceVersion"]),
        report=intern(annotations.get(REPORT_ANNOTATION, "")),
        is_edited=_is_edited(record, annotations),
        ttl_secs=_ttl_secs(annotations.get(TTL_ANNOTATION)),
        size_units=len(orjson.dumps(record)) // SIZE_UNIT_BYTES + 1,
        resource=_shared_resource(*((spec.get("resource") or {}).get(part, "") for part in ("apiVersion", "kind", "name", "namespace"))),
        **_facets_of(spec.get("details") or {}),
    )


def _is_edited(record: Mapping[str, Any], annotations: Mapping[str, str]) -> bool:
    """Whether metadata and spec are not as zenwatch writes them. detectedAt is never written again, so that any is right."""
    report = annotations.get(REPORT_ANNOTATION)
    return (
        bool(missing_labels(record))
        or (report is not None and ReportRef.parse(report) is None)
        or annotations.get(SPEC_HASH_ANNOTATION) != hash_of_spec(record["spec"])
    )


@lru_cache(maxsize=4096)
def _shared_resource(api_version: str, kind: str, name: str, namespace: str) -> Resource:
    return Resource(api_version, kind, name, namespace)


@lru_cache(maxsize=1024)
def _shared_origin(cluster_id: str, source: str) -> Origin:
    return Origin(cluster_id, source)


@lru_cache(maxsize=1024)
def _ttl_secs(text: str | None) -> float | None:
    """A person writes this annotation."""
    try:
        return seconds_of(text) if text else None
    except ValueError:
        log.warning("ttl_not_understood", reason=f"{str(text)[:40]!r} is no duration such as 72h; EVENT_TTL holds")
        return None


def _facets_of(details: Mapping[str, Any]) -> dict[str, str]:
    return {facet: intern(str(next((details[name] for name in names if details.get(name)), ""))) for facet, names in FACETS.items()}
