"""A record: the ZenAgentEvent object that an event becomes, to the letter of the CRD in deployments/crds."""

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import orjson

from zenwatch.model.event import Event
from zenwatch.model.finding import Resource

GROUP = "zen.kube-zen.io"
VERSION = "v1"
KIND = "ZenAgentEvent"
PLURAL = "zenagentevents"
CLUSTER_LABEL = f"{GROUP}/cluster"
SPEC_HASH_ANNOTATION = f"{GROUP}/spec-hash"
# What the API server takes as a namespace's name.
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Phase(StrEnum):
    OPEN = "Open"
    RESOLVED = "Resolved"
    SUPPRESSED = "Suppressed"


@dataclass(frozen=True, slots=True)
class Stored:
    """What is remembered of a stored record: enough to know whether it must be written again.

    spec_hash: of the event that was written last; empty where the record does not tell.
    version: rises with every change of this record; versions of two records do not compare.
    """

    name: str
    namespace: str
    spec_hash: str
    severity: str
    phase: str
    count: int
    version: int


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


def object_of(event: Event, *, namespace: str, hash_of_spec: str) -> dict[str, Any]:
    """The whole object as it is created. It has no status: the CRD's defaults are what a new record needs."""
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
            "annotations": {SPEC_HASH_ANNOTATION: hash_of_spec},
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
