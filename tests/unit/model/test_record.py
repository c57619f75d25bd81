"""zenwatch/model/record.py: the record to the letter."""

from typing import Any

import pytest

from tests.support.builders.findings import an_event
from zenwatch.kube.records import object_of
from zenwatch.model.finding import Category, Resource, Severity
from zenwatch.model.record import spec_hash, spec_of


def test_the_object_is_the_one_of_the_specification() -> None:
    """Manifests, tests and dashboards agree on this; it changes only together with the CRD."""
    event = an_event(
        name="trivy-vuln-3f9c0a5be1d27c44a0b1",
        key="default/Pod/nginx/CVE-2024-1234",
        score=82,
        detected_at="2025-11-12T10:00:00Z",
        title="CVE-2024-1234 in nginx 1.21.0",
        remediation="Upgrade nginx to 1.21.6",
        references=("https://example.test/1",),
        details={"vulnID": "CVE-2024-1234", "package": "nginx", "version": "1.21.0"},
    )

    assert object_of(event, namespace="default", hash_of_spec="0123456789abcdef") == {
        "apiVersion": "zen.kube-zen.io/v1",
        "kind": "ZenAgentEvent",
        "metadata": {
            "name": "trivy-vuln-3f9c0a5be1d27c44a0b1",
            "namespace": "default",
            "labels": {
                "source": "trivy",
                "category": "security",
                "severity": "HIGH",
                "app.kubernetes.io/managed-by": "zenwatch",
                "zen.kube-zen.io/cluster": "local",
            },
            "annotations": {"zen.kube-zen.io/spec-hash": "0123456789abcdef"},
        },
        "spec": {
            "source": "trivy",
            "clusterID": "local",
            "key": "default/Pod/nginx/CVE-2024-1234",
            "category": "security",
            "severity": "HIGH",
            "score": 82,
            "eventType": "vulnerability-report",
            "detectedAt": "2025-11-12T10:00:00Z",
            "title": "CVE-2024-1234 in nginx 1.21.0",
            "remediation": "Upgrade nginx to 1.21.6",
            "references": ["https://example.test/1"],
            "resource": {"apiVersion": "v1", "kind": "Pod", "name": "nginx", "namespace": "default"},
            "details": {"vulnID": "CVE-2024-1234", "package": "nginx", "version": "1.21.0"},
        },
    }


def test_what_the_tool_did_not_say_is_absent() -> None:
    """Absent, not empty: the CRD's resource requires a kind."""
    spec = spec_of(an_event(remediation="", references=(), resource=Resource()))

    assert not {"remediation", "references", "resource"} & spec.keys()
    assert spec_of(an_event(resource=Resource(kind="Node", name="n")))["resource"] == {"kind": "Node", "name": "n"}


def test_the_time_of_detection_does_not_change_the_hash() -> None:
    """Tools that scan every day would have every record written every day."""
    assert spec_hash(an_event(detected_at="2026-01-01T00:00:00Z")) == spec_hash(an_event(detected_at="2026-06-01T00:00:00Z"))


def test_the_order_of_details_does_not_change_the_hash() -> None:
    """Two replicas that build the same spec in another order agree that it is written."""
    assert spec_hash(an_event(details={"a": "1", "b": "2"})) == spec_hash(an_event(details={"b": "2", "a": "1"}))


@pytest.mark.parametrize(
    "change",
    [
        {"source": "kyverno"},
        {"cluster_id": "east"},
        {"key": "k"},
        {"category": Category.COMPLIANCE},
        {"severity": Severity.LOW},
        {"score": 1},
        {"event_type": "x"},
        {"title": "x"},
        {"remediation": "x"},
        {"references": ("https://example.test/2",)},
        {"resource": Resource("v1", "Pod", "other", "default")},
        {"details": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_everything_else_changes_the_hash(change: dict[str, Any]) -> None:
    """What a reader of the record would see differently has to be written."""
    assert spec_hash(an_event(**change)) != spec_hash(an_event())
