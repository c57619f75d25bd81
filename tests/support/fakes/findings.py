"""Builders: what flows through zenwatch, complete and valid; name only what a test is about."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Category, Finding, FindingType, Resource, Severity

TYPE = FindingType("trivy", "trivy-vuln-", "vulnerability-report", Category.SECURITY)
DETECTED_AT = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
REPORTS = "vulnerabilityreports.aquasecurity.github.io"
POD = Resource("v1", "Pod", "nginx", "default")


def a_finding(**changes: Any) -> Finding:
    """A CVE in a Pod. vuln_id and package change the parts that speak of them together."""
    vuln_id, package = changes.pop("vuln_id", "CVE-2026-1"), changes.pop("package", "zlib 1.2")
    resource = changes.get("resource", POD)
    said: dict[str, Any] = {
        "type": TYPE,
        "key": f"{resource.namespace}/{resource.kind}/{resource.name}/{vuln_id}",
        "severity": Severity.HIGH,
        "title": f"{vuln_id} in {package}",
        "resource": resource,
        "details": {"vulnID": vuln_id, "packages": [package]},
        "detected_at": DETECTED_AT,
    }
    return Finding(**said | changes)


def an_event(**changes: Any) -> Event:
    """As normalise would make it of a_finding(); the name follows from cluster_id, source and key unless it is given."""
    said: dict[str, Any] = {
        "source": "trivy",
        "cluster_id": "local",
        "key": "default/Pod/nginx/CVE-2026-1",
        "category": Category.SECURITY,
        "severity": Severity.HIGH,
        "score": 77,
        "event_type": "vulnerability-report",
        "detected_at": "2026-01-01T10:00:00Z",
        "title": "CVE-2026-1 in zlib 1.2",
        "remediation": "",
        "references": (),
        "resource": POD,
        "details": {"vulnID": "CVE-2026-1", "packages": ["zlib 1.2"]},
    } | changes
    said.setdefault("name", record_name("trivy-vuln-", cluster_id=said["cluster_id"], source=said["source"], key=said["key"]))
    return Event(**said)


def a_vulnerability(**changes: Any) -> dict[str, Any]:
    """One entry of report.vulnerabilities. A field set to None is left out."""
    said = {
        "vulnerabilityID": "CVE-2026-1",
        "resource": "zlib",
        "installedVersion": "1.2",
        "fixedVersion": "1.3",
        "severity": "HIGH",
        "title": "a flaw",
        "primaryLink": "https://example.test/CVE-2026-1",
        "score": 7.5,
    } | changes
    return {field: value for field, value in said.items() if value is not None}


def a_report(
    vulnerabilities: Sequence[Any] = (),
    *,
    name: str = "pod-nginx",
    namespace: str = "default",
    version: str = "1",
    labels: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A VulnerabilityReport of the Pod nginx. labels replaces all labels, report adds to or replaces parts of the report."""
    about_nginx = {
        "trivy-operator.resource.kind": "Pod",
        "trivy-operator.resource.name": "nginx",
        "trivy-operator.resource.namespace": namespace,
        "trivy-operator.container.name": "web",
    }
    body: dict[str, Any] = {
        "updateTimestamp": "2026-01-01T10:00:00Z",
        "registry": {"server": "index.docker.io"},
        "artifact": {"repository": "library/nginx", "tag": "1.21.0", "digest": "sha256:abc"},
        "vulnerabilities": list(vulnerabilities),
    }
    return {
        "apiVersion": "aquasecurity.github.io/v1alpha1",
        "kind": "VulnerabilityReport",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "resourceVersion": version,
            "labels": about_nginx if labels is None else dict(labels),
            **metadata,
        },
        "report": body | dict(report or {}),
    }
