"""Make records of findings as zenwatch does, and compare them with the CRD."""

import re
from collections.abc import Collection
from datetime import UTC, datetime

import orjson

from tests.support.fakes.crd import violations
from zenwatch.kube.records import object_of
from zenwatch.model.event import Event
from zenwatch.model.finding import Finding
from zenwatch.model.record import spec_hash, spec_of
from zenwatch.processing.event.merge import merge
from zenwatch.processing.event.normalise import normalise

SEEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
OBJECT_BYTES = 16 * 1024
DETAILS = 64
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
RFC3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def events_of(findings: Collection[Finding]) -> list[Event]:
    """An event for each key, as zenwatch writes it to the store."""
    by_name: dict[str, list[Event]] = {}
    for finding in findings:
        event = normalise(finding, cluster_id="local", seen_at=SEEN_AT)
        by_name.setdefault(event.name, []).append(event)
    return [merge(events) for events in by_name.values()]


def faults_of(findings: Collection[Finding]) -> list[str]:
    """The reasons why the API server would refuse the records. Empty: it would accept all."""
    faults = []
    for event in events_of(findings):
        faults += violations(spec_of(event))
        faults += [] if DNS_SUBDOMAIN.fullmatch(event.name) and len(event.name) <= 253 else [event.name]
        faults += [] if RFC3339.fullmatch(event.detected_at) else [event.detected_at]
        faults += [] if len(event.details) <= DETAILS else [f"{len(event.details)} details"]
        size = len(orjson.dumps(object_of(event, namespace="n" * 63, hash_of_spec=spec_hash(event))))
        faults += [] if size < OBJECT_BYTES else [f"{size} bytes"]
    return faults
