"""Findings and events, complete and valid; a test names only what it is about."""

from datetime import UTC, datetime
from typing import Any

from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Category, Finding, FindingType, Resource, Severity

TYPE = FindingType("trivy", "trivy-vuln-", "vulnerability-report", Category.SECURITY)
DETECTED_AT = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
REPORTS = "vulnerabilityreports.aquasecurity.github.io"
POD = Resource("v1", "Pod", "nginx", "default")


def a_finding(**changes: Any) -> Finding:
    """A CVE in a Pod. vuln_id and package change every field that contains them."""
    vuln_id, package = changes.pop("vuln_id", "CVE-2026-1"), changes.pop("package", "zlib 1.2")
    resource = changes.get("resource", POD)
    fields: dict[str, Any] = {
        "type": TYPE,
        "key": f"{resource.namespace}/{resource.kind}/{resource.name}/{vuln_id}",
        "severity": Severity.HIGH,
        "title": f"{vuln_id} in {package}",
        "resource": resource,
        "details": {"vulnID": vuln_id, "packages": [package]},
        "detected_at": DETECTED_AT,
    }
    return Finding(**fields | changes)


def an_event(**changes: Any) -> Event:
    """The event that normalise makes of a_finding(). Its name follows from cluster_id, source and key, unless a test gives one."""
    fields: dict[str, Any] = {
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
    fields.setdefault("name", record_name("trivy-vuln-", cluster_id=fields["cluster_id"], source=fields["source"], key=fields["key"]))
    return Event(**fields)
