"""From a VulnerabilityReport in a real API server to the record that kubectl shows, under the shipped RBAC."""

import hashlib
from collections.abc import Callable

import pytest
import yaml

from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.objects import apply, records, writes
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]


def test_a_report_becomes_a_record_that_kubectl_shows(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The table shows what is wrong and where; the YAML is exactly what the specification demands."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2", severity="MEDIUM")))
    zenwatch.wait_for_stored(1)

    key = f"{namespace}/Pod/nginx/CVE-2026-1"
    name = "trivy-vuln-" + hashlib.sha256(f"local\ntrivy\n{key}".encode()).hexdigest()[:20]
    head, row = cluster.kubectl("get", "zenagentevents", "-n", namespace).splitlines()
    assert head.split() == ["NAME", "SEVERITY", "SOURCE", "RESOURCE", "TITLE", "PHASE", "COUNT", "AGE"]
    assert row.split()[:-1] == [name, "HIGH", "trivy", "nginx", "CVE-2026-1", "in", "zlib", "1.2", "Open", "1"]

    record = yaml.safe_load(cluster.kubectl("get", "zae", name, "-n", namespace, "-o", "yaml"))
    assert record["metadata"]["labels"] == {
        "source": "trivy",
        "category": "security",
        "severity": "HIGH",
        "app.kubernetes.io/managed-by": "zenwatch",
        "zen.kube-zen.io/cluster": "local",
    }
    assert record["spec"] == {
        "source": "trivy",
        "clusterID": "local",
        "key": key,
        "category": "security",
        "severity": "HIGH",
        "score": 85,
        "eventType": "vulnerability-report",
        "detectedAt": "2026-01-01T10:00:00Z",
        "title": "CVE-2026-1 in zlib 1.2",
        "remediation": "Upgrade zlib to 1.3",
        "references": ["https://example.test/CVE-2026-1"],
        "resource": {"apiVersion": "v1", "kind": "Pod", "name": "nginx", "namespace": namespace},
        "details": {
            "vulnID": "CVE-2026-1",
            "package": "zlib",
            "version": "1.2",
            "fixedVersion": "1.3",
            "cvss": 7.5,
            "image": "index.docker.io/library/nginx:1.21.0",
            "imageDigest": "sha256:abc",
            "container": "web",
            "packages": ["zlib 1.2"],
        },
    }
    assert record["status"] == {"phase": "Open", "count": 1, "reopened": 0}


def test_one_new_record_costs_one_write(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The CRD has defaults for the status, so a second write is not needed."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, *(a_vulnerability(vulnerabilityID=f"CVE-2026-{number}") for number in range(30))))
    zenwatch.wait_for_stored(30)

    assert len(records(cluster, namespace)) == 30
    assert writes(cluster, namespace) == ["create"] * 30


def test_a_changed_report_changes_its_record(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """Severity, fix and package follow the report; detectedAt stays."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability()))
    zenwatch.wait_for_stored(1)
    worse = a_vulnerability(severity="CRITICAL", score=9.9, fixedVersion="", installedVersion="1.2.1")
    apply(cluster, report_in(namespace, worse, report={"updateTimestamp": "2026-02-02T00:00:00Z"}))
    zenwatch.wait_for_stored(2)

    (record,) = records(cluster, namespace)
    assert record["spec"]["severity"] == record["metadata"]["labels"]["severity"] == "CRITICAL"
    assert record["spec"]["title"] == "CVE-2026-1 in zlib 1.2.1"
    assert record["spec"]["details"]["cvss"] == 9.9
    assert "remediation" not in record["spec"]
    assert "fixedVersion" not in record["spec"]["details"]
    assert record["spec"]["detectedAt"] == "2026-01-01T10:00:00Z"
    assert writes(cluster, namespace) == ["create", "patch"]


def test_a_report_that_is_written_again_unchanged_writes_nothing(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """Trivy Operator deletes and recreates every report each day, with a new time in it."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability()))
    zenwatch.wait_for_stored(1)
    cluster.kubectl("delete", "vulnerabilityreports", "--all", "-n", namespace)
    apply(cluster, report_in(namespace, a_vulnerability(), report={"updateTimestamp": "2026-01-02T10:00:00Z"}))
    eventually(lambda: sum(line.get("repeated", 0) for line in zenwatch.log("round_done")) >= 1)

    assert writes(cluster, namespace) == ["create"]
    assert len(records(cluster, namespace)) == 1


def test_a_restart_stores_nothing_twice_and_writes_nothing(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """By the API server's audit log, the second process only reads."""
    web = report_in(namespace, a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2"), name="pod-nginx-web")
    sidecar = report_in(namespace, a_vulnerability(resource="openssl", installedVersion="3.0"), name="pod-nginx-sidecar")
    first = start_zenwatch()
    apply(cluster, web, sidecar)
    first.wait_for_stored(2)
    eventually(lambda: "patch status" in writes(cluster, namespace))
    assert first.stop() == 0
    before, seen = writes(cluster, namespace), records(cluster, namespace)

    second = start_zenwatch()
    done = second.wait_for_log("round_done")

    assert (done["stored"], done["in_flight"]) == (0, 0)
    assert second.stop() == 0
    assert writes(cluster, namespace) == before
    assert records(cluster, namespace) == seen


def test_a_vulnerability_of_two_containers_is_one_record(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The record counts its reports and lists the packages of both, until one report is deleted."""
    zenwatch = start_zenwatch()
    web = report_in(namespace, a_vulnerability(), name="pod-nginx-web")
    sidecar = report_in(namespace, a_vulnerability(resource="openssl", installedVersion="3.0"), name="pod-nginx-sidecar")
    apply(cluster, web, sidecar)

    def state() -> tuple[int, list[str]] | None:
        found = records(cluster, namespace)
        return (found[0]["status"]["count"], found[0]["spec"]["details"]["packages"]) if len(found) == 1 else None

    eventually(lambda: state() == (2, ["openssl 3.0", "zlib 1.2"]))
    cluster.kubectl("delete", "vulnerabilityreports", "pod-nginx-web", "-n", namespace)
    eventually(lambda: state() == (1, ["openssl 3.0"]))
    assert zenwatch.stop() == 0


def test_a_record_that_was_deleted_by_hand_comes_back(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """It is open as long as a report has it."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability()))
    zenwatch.wait_for_stored(1)

    cluster.kubectl("delete", "zenagentevents", "--all", "-n", namespace)

    eventually(lambda: len(records(cluster, namespace)) == 1)
    assert writes(cluster, namespace) == ["create", "create"]


def test_a_record_without_labels_can_still_be_updated(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """A script removed its metadata; the next change of the report restores it."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability()))
    zenwatch.wait_for_stored(1)
    (record,) = records(cluster, namespace)
    bare = '[{"op": "remove", "path": "/metadata/labels"}, {"op": "remove", "path": "/metadata/annotations"}]'
    cluster.kubectl("patch", "zae", record["metadata"]["name"], "-n", namespace, "--type=json", "-p", bare)

    apply(cluster, report_in(namespace, a_vulnerability(severity="CRITICAL")))

    def is_restored() -> bool:
        (record,) = records(cluster, namespace)
        return bool(record["spec"]["severity"] == "CRITICAL" and record["metadata"].get("labels", {}).get("severity") == "CRITICAL")

    eventually(is_restored)


def test_a_report_about_a_missing_namespace_is_stored_in_our_own(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The record still names the missing namespace as that of its resource."""
    zenwatch = start_zenwatch()
    about = f"gone-{namespace}"
    report = report_in(namespace, a_vulnerability())
    report["metadata"]["labels"]["trivy-operator.resource.namespace"] = about
    apply(cluster, report)
    zenwatch.wait_for_stored(1)

    (record,) = records(cluster, about)
    assert record["metadata"]["namespace"] == "zenwatch"
    cluster.kubectl("delete", "zae", record["metadata"]["name"], "-n", "zenwatch", "--wait=false")


def test_a_report_that_cannot_be_read_does_not_stop_the_others(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The log names the report and the error."""
    zenwatch = start_zenwatch()
    broken = report_in(namespace, {"severity": "HIGH"}, name="broken")
    apply(cluster, broken, report_in(namespace, a_vulnerability()))
    zenwatch.wait_for_stored(1)

    (line,) = zenwatch.log("report_rejected")
    assert line["name"] == f"vulnerabilityreports.aquasecurity.github.io/{namespace}/broken"
    assert line["error"] == "report.vulnerabilities[0].vulnerabilityID is missing"
