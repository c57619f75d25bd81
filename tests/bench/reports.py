"""Reports and records with the size and shape of real ones."""

from typing import Any


def vulnerability_report(number: int, *, namespace: str, findings: int, first: int = 0) -> dict[str, Any]:
    """A VulnerabilityReport of one container; every finding is HIGH, so that all are stored. first: the number of its first CVE."""
    name = _name_of(number)
    return {
        "apiVersion": "aquasecurity.github.io/v1alpha1",
        "kind": "VulnerabilityReport",
        "metadata": {
            "name": f"replicaset-{name}-app",
            "namespace": namespace,
            "labels": {
                "trivy-operator.container.name": "app",
                "trivy-operator.resource.kind": "ReplicaSet",
                "trivy-operator.resource.name": name,
                "trivy-operator.resource.namespace": namespace,
            },
        },
        "report": {
            "updateTimestamp": "2026-01-14T14:41:49Z",
            "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.66.0"},
            "registry": {"server": "registry.example.com"},
            "artifact": {"repository": f"shop/app-{number}", "tag": "1.2.3", "digest": f"sha256:{number:064x}"},
            "summary": {"criticalCount": 0, "highCount": findings, "mediumCount": 0, "lowCount": 0, "unknownCount": 0},
            "vulnerabilities": [_vulnerability(first + number) for number in range(findings)],
        },
    }


def replica_set(number: int, *, namespace: str) -> dict[str, Any]:
    """The resource of such a report."""
    labels = {"app": f"shop-{number}"}
    container = {"name": "app", "image": f"registry.example.com/shop/app-{number}:1.2.3"}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": _name_of(number), "namespace": namespace},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def _name_of(number: int) -> str:
    return f"shop-{number:05}-7fb96c846b"


def record_like_ours(name: str, namespace: str) -> dict[str, Any]:
    """The record that zenwatch makes of one finding of such a report, field by field."""
    return {
        "apiVersion": "zen.kube-zen.io/v1",
        "kind": "ZenAgentEvent",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                "source": "trivy",
                "category": "security",
                "severity": "HIGH",
                "app.kubernetes.io/managed-by": "baseline",
                "zen.kube-zen.io/cluster": "local",
            },
            "annotations": {"zen.kube-zen.io/spec-hash": "0123456789abcdef"},
        },
        "spec": {
            "source": "trivy",
            "clusterID": "local",
            "key": f"{namespace}/ReplicaSet/shop-00001-7fb96c846b/{name}",
            "category": "security",
            "severity": "HIGH",
            "score": 84,
            "eventType": "vulnerability-report",
            "detectedAt": "2026-01-14T14:41:49Z",
            "title": "CVE-2026-10001 in libexample1 1.4.9-2",
            "remediation": "Upgrade libexample1 to 1.4.9-3",
            "references": ["https://avd.aquasec.com/nvd/cve-2026-10001"],
            "resource": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "shop-00001-7fb96c846b", "namespace": namespace},
            "details": {
                "vulnID": "CVE-2026-10001",
                "package": "libexample1",
                "version": "1.4.9-2",
                "fixedVersion": "1.4.9-3",
                "cvss": 7.5,
                "image": "registry.example.com/shop/app-1:1.2.3",
                "imageDigest": f"sha256:{1:064x}",
                "container": "app",
                "packages": ["libexample1 1.4.9-2"],
            },
        },
    }


def _vulnerability(number: int) -> dict[str, Any]:
    return {
        "vulnerabilityID": f"CVE-2026-{10000 + number}",
        "resource": f"libexample{number}",
        "installedVersion": "1.4.9-2",
        "fixedVersion": "1.4.9-3",
        "severity": "HIGH",
        "score": 7.5,
        "title": "libexample: out-of-bounds write while parsing a header that is too long",
        "primaryLink": f"https://avd.aquasec.com/nvd/cve-2026-{10000 + number}",
        "links": [],
        "target": "app (debian 12.5)",
        "class": "os-pkgs",
        "packageType": "debian",
        "publishedDate": "2026-01-03T12:15:45Z",
        "lastModifiedDate": "2026-01-09T21:15:08Z",
    }
