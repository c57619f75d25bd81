"""Builders of what the tools write: complete, valid and small. A test names only the fields that it is about."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]


def _of(fields: Json, changes: Mapping[str, Any]) -> Json:
    """A field with the value None is absent."""
    return {field: value for field, value in (fields | dict(changes)).items() if value is not None}


# ---------------------------------------------------------------- Trivy


def a_check(**changes: Any) -> Json:
    """A failed entry of report.checks."""
    fields = {
        "checkID": "KSV014",
        "title": "Root file system is not read-only",
        "severity": "LOW",
        "category": "Kubernetes Security Check",
        "description": "An immutable root file system prevents applications from writing to their local disk.",
        "messages": ["Container 'web' should set 'securityContext.readOnlyRootFilesystem' to true"],
        "remediation": "Set 'securityContext.readOnlyRootFilesystem' to true.",
        "success": False,
    }
    return _of(fields, changes)


def an_assessment(
    checks: Any = (), *, kind: str = "ConfigAuditReport", about: tuple[str, str, str] = ("Pod", "nginx", "default"), **body: Any
) -> Json:
    """A report of checks. about: kind, name and namespace of the scanned resource."""
    labels = {f"trivy-operator.resource.{part}": value for part, value in zip(("kind", "name", "namespace"), about, strict=True)}
    metadata = {"name": "a-report", "namespace": about[2], "labels": labels}
    return _trivys(kind, metadata, {"checks": [] if checks == () else checks} | body)


def a_secret(**changes: Any) -> Json:
    """An entry of report.secrets."""
    fields = {
        "ruleID": "github-pat",
        "title": "GitHub Personal Access Token",
        "severity": "CRITICAL",
        "category": "GitHub",
        "target": "root/github.txt",
        "match": "GITHUB_PAT=ghp_notarealtoken",
    }
    return _of(fields, changes)


def a_secret_report(*secrets: Any) -> Json:
    metadata = an_assessment()["metadata"]
    return _trivys("ExposedSecretReport", metadata, {"secrets": list(secrets), "artifact": {"repository": "library/nginx"}})


def _trivys(kind: str, metadata: Json, body: Json) -> Json:
    report = {"updateTimestamp": "2026-01-01T10:00:00Z"} | body
    return {"apiVersion": "aquasecurity.github.io/v1alpha1", "kind": kind, "metadata": metadata, "report": report}


# ---------------------------------------------------------------- Kyverno


def a_result(**changes: Any) -> Json:
    """A failed entry of results."""
    fields = {
        "source": "kyverno",
        "policy": "require-labels",
        "rule": "check-team",
        "result": "fail",
        "message": "validation error: Every Pod has a team. Ask yours. rule check-team failed at path /metadata/labels/team/",
        "category": "Best Practices",
        "severity": "high",
        "scored": True,
        "timestamp": {"seconds": 1767261600, "nanos": 0},
    }
    return _of(fields, changes)


def a_policy_report(*results: Any, metadata: Mapping[str, Any] | None = None, **changes: Any) -> Json:
    """A PolicyReport about the Pod nginx, as Kyverno writes it since 1.11."""
    about = {
        "name": "0f8f65db",
        "namespace": "default",
        "labels": {"app.kubernetes.io/managed-by": "kyverno"},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "nginx", "uid": "0f8f65db"}],
    }
    fields = {
        "apiVersion": "wgpolicyk8s.io/v1alpha2",
        "kind": "PolicyReport",
        "metadata": _of(about, metadata or {}),
        "scope": {"apiVersion": "v1", "kind": "Pod", "name": "nginx", "namespace": "default"},
        "results": list(results),
    }
    return _of(fields, changes)


# ---------------------------------------------------------------- ConfigMaps


def a_config_map(data: Mapping[str, Any] | None = None, **parts: Any) -> Json:
    """A ConfigMap. A value that is no text becomes JSON."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (data or {}).items()}
    metadata = {"name": "results", "namespace": "default"} | parts.pop("metadata", {})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": texts, **parts}


# ---------------------------------------------------------------- kube-bench


def a_test(**changes: Any) -> Json:
    """A failed entry of results."""
    fields = {
        "test_number": "4.1.1",
        "test_desc": "Ensure that the kubelet service file permissions are set to 600 (Automated)",
        "audit": "stat -c permissions=%a",
        "remediation": "chmod 600 /etc/systemd/system/kubelet.service\n",
        "status": "FAIL",
        "actual_value": "permissions=644",
        "scored": True,
        "expected_result": "permissions has permissions 644, expected 600",
    }
    return _of(fields, changes)


def a_control(*tests: Any, **changes: Any) -> Json:
    groups = [{"section": "4.1", "desc": "Worker Node Configuration Files", "results": list(tests)}]
    fields = {"id": "4", "version": "cis-1.12", "detected_version": "1.35", "text": "Worker Nodes", "node_type": "node", "tests": groups}
    return _of(fields, changes)


def a_benchmark(*tests: Any) -> Json:
    return {"Controls": [a_control(*tests)], "Totals": {"total_fail": len(tests)}}


# ---------------------------------------------------------------- Checkov


def a_failed_check(**changes: Any) -> Json:
    """An entry of failed_checks. CODE is in every field that must not reach a record."""
    fields = {
        "check_id": "CKV_K8S_22",
        "check_name": "Use read-only filesystem for containers where possible",
        "check_result": {"result": "FAILED", "entity": {"password": "CODE"}},
        "code_block": [[1, "password: CODE\n"]],
        "evaluations": {"default": {"value": "CODE"}},
        "entity_tags": {"token": "CODE"},
        "fixed_definition": "CODE",
        "file_path": "/deployment.yaml",
        "file_abs_path": "/scan/deployment.yaml",
        "file_line_range": [5, 13],
        "resource": "Deployment.shop.catalog",
        "severity": "LOW",
        "guideline": "https://example.test/ckv-k8s-22",
    }
    return _of(fields, changes)


def a_scan(*failed: Any, framework: str = "kubernetes") -> Json:
    return {
        "check_type": framework,
        "results": {"passed_checks": [], "failed_checks": list(failed), "skipped_checks": [], "parsing_errors": []},
        "summary": {"passed": 0, "failed": len(failed), "checkov_version": "3.3.30"},
    }


# For each tool, at least a sample of every form of report that has findings.
SAMPLES: Mapping[str, Sequence[Json]] = {
    "trivy": [
        an_assessment([a_check(), a_check(checkID="KSV001", success=True)]),
        an_assessment([a_check(checkID="KSV041")], kind="ClusterRbacAssessmentReport", about=("ClusterRole", "admin", "")),
        a_secret_report(a_secret()),
    ],
    "kyverno": [
        a_policy_report(a_result(), a_result(result="pass")),
        a_policy_report(a_result(resources=[{"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": "shop"}]), scope=None),
    ],
    "kube-bench": [
        a_config_map({"results.json": a_benchmark(a_test())}, metadata={"labels": {"kube-bench/node": "worker-1"}}),
        a_config_map({"results.json": [a_control(a_test())], "more.json": a_control(a_test(scored=False))}),
    ],
    "checkov": [
        a_config_map({"results.json": a_scan(a_failed_check())}),
        a_config_map({"results_json.json": [a_scan(a_failed_check(severity=None)), a_scan(framework="terraform")]}),
    ],
}
