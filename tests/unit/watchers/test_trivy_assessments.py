"""watchers/trivy.py: the reports of checks and of secrets. test_trivy.py has the vulnerabilities."""

from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.payloads import a_check, a_secret, a_secret_report, an_assessment
from watchers.trivy import CONFIG_AUDIT, EXPOSED_SECRET, TRIVY, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Category, Finding, Resource, Severity


def only(report: dict[str, Any]) -> Finding:
    [finding] = parse(report)
    return finding


def test_a_failed_check_becomes_a_finding() -> None:
    """records.md, the line "trivy config audit", to the letter."""
    message = "Container 'web' should set 'securityContext.readOnlyRootFilesystem' to true"

    assert only(an_assessment([a_check()])) == Finding(
        type=CONFIG_AUDIT,
        key="default/Pod/nginx/KSV014",
        severity=Severity.LOW,
        title="Root file system is not read-only",
        resource=Resource("v1", "Pod", "nginx", "default"),
        details={"checkID": "KSV014", "message": message, "messages": [message]},
        remediation="Set 'securityContext.readOnlyRootFilesystem' to true.",
        has_fix=True,
        detected_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("kind", "name_prefix", "event_type", "category"),
    [
        ("ConfigAuditReport", "trivy-config-", "config-audit-report", Category.SECURITY),
        ("RbacAssessmentReport", "trivy-rbac-", "rbac-assessment-report", Category.SECURITY),
        ("ClusterRbacAssessmentReport", "trivy-rbac-", "rbac-assessment-report", Category.SECURITY),
        ("InfraAssessmentReport", "trivy-infra-", "infra-assessment-report", Category.COMPLIANCE),
        ("ClusterInfraAssessmentReport", "trivy-infra-", "infra-assessment-report", Category.COMPLIANCE),
    ],
)
def test_the_kind_of_report_is_the_type_of_its_findings(kind: str, name_prefix: str, event_type: str, category: Category) -> None:
    """records.md, by source."""
    finding = only(an_assessment([a_check()], kind=kind))

    assert astuple(finding.type) == ("trivy", name_prefix, event_type, category)


def test_every_kind_but_the_summary_is_read() -> None:
    """The ClusterComplianceReport counts what stands in the others."""
    assert {resource.full_name for resource in TRIVY.reads} == {
        f"{kind}.aquasecurity.github.io"
        for kind in (
            "vulnerabilityreports",
            "clustervulnerabilityreports",
            "exposedsecretreports",
            "configauditreports",
            "rbacassessmentreports",
            "clusterrbacassessmentreports",
            "infraassessmentreports",
            "clusterinfraassessmentreports",
        )
    }


def test_cluster_reports_lie_in_no_namespace() -> None:
    """Where zenwatch is confined to namespaces, they are not asked for."""
    assert {resource.plural for resource in TRIVY.reads if not resource.namespaced} == {
        "clustervulnerabilityreports",
        "clusterrbacassessmentreports",
        "clusterinfraassessmentreports",
    }


def test_the_clusters_own_components_have_vulnerabilities() -> None:
    """A ClusterVulnerabilityReport has no namespace."""
    report = a_report([a_vulnerability()], labels={}, namespace="")
    report["kind"] = "ClusterVulnerabilityReport"
    report["metadata"]["ownerReferences"] = [{"apiVersion": "aquasecurity.github.io/v1alpha1", "kind": "ClusterSbomReport", "name": "584b"}]

    finding = only(report)

    assert finding.key == "/ClusterSbomReport/584b/CVE-2026-1"
    assert finding.type.event_type == "vulnerability-report"


def test_what_passed_is_no_finding() -> None:
    """Whatever is missing in it."""
    passed = [a_check(success=True), {"success": True}]

    assert list(parse(an_assessment(passed))) == []


@pytest.mark.parametrize(
    ("about", "key", "api_version"),
    [
        (("ClusterRole", "admin", ""), "/ClusterRole/admin/KSV041", "rbac.authorization.k8s.io/v1"),
        (("Role", "proxy", "shop"), "shop/Role/proxy/KSV041", "rbac.authorization.k8s.io/v1"),
        (("Service", "web", "shop"), "shop/Service/web/KSV041", "v1"),
        (("NetworkPolicy", "web", "shop"), "shop/NetworkPolicy/web/KSV041", "networking.k8s.io/v1"),
        (("Rollout", "web", "shop"), "shop/Rollout/web/KSV041", ""),
    ],
)
def test_the_key_is_of_what_was_looked_at(about: tuple[str, str, str], key: str, api_version: str) -> None:
    """An empty part keeps its slash; the group of a kind that everybody knows is filled in."""
    finding = only(an_assessment([a_check(checkID="KSV041")], about=about))

    assert (finding.key, finding.resource.api_version) == (key, api_version)


def test_a_node_has_no_namespace_wherever_its_report_lies() -> None:
    """The operator puts reports of nodes next to itself."""
    report = an_assessment([a_check(checkID="KCV0077")], kind="InfraAssessmentReport", about=("Node", "worker-1", ""))
    report["metadata"]["namespace"] = "trivy-system"

    assert only(report).key == "/Node/worker-1/KCV0077"


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"messages": ["b", "a"]}, {"message": "b", "messages": ["b", "a"]}),
        ({"messages": [""]}, {}),
        ({"messages": [None, 7, "a"]}, {"message": "a", "messages": ["a"]}),
        ({"messages": "a"}, {}),
        ({"messages": None}, {}),
        ({"messages": None, "message": "a"}, {"message": "a", "messages": ["a"]}),
    ],
)
def test_messages_say_where(changes: dict[str, Any], details: dict[str, Any]) -> None:
    """The first as a scalar, all as a list; Trivy writes an empty one for what has none."""
    assert only(an_assessment([a_check(**changes)])).details == {"checkID": "KSV014"} | details


def test_a_check_without_a_title_is_called_by_its_id() -> None:
    """Older scanners have only ids that speak for themselves."""
    finding = only(an_assessment([a_check(checkID="hostPIDSet", title=None, remediation=None)]))

    assert (finding.title, finding.remediation, finding.has_fix) == ("hostPIDSet", "", False)


@pytest.mark.parametrize("checks", [[], None])
def test_a_report_without_checks_says_nothing(checks: Any) -> None:
    """Go writes null for an empty list."""
    assert list(parse(an_assessment(checks=checks))) == []


# ---------------------------------------------------------------- Starboard


def test_starboards_first_form_is_read() -> None:
    """Checks of the pod and of each container apart, one message each, two severities."""
    body: dict[str, Any] = {
        "podChecks": [{"checkID": "hostPIDSet", "message": "Host PID is set", "severity": "DANGER", "success": False}],
        "containerChecks": {
            "web": [{"checkID": "tagNotSpecified", "message": "No tag", "severity": "WARNING", "success": False}],
            "log": [{"checkID": "tagNotSpecified", "message": "A tag", "severity": "WARNING", "success": True}],
        },
    }

    pod, container = parse(an_assessment(**body))

    assert (pod.key, pod.severity) == ("default/Pod/nginx/hostPIDSet", Severity.CRITICAL)
    assert (container.key, container.severity) == ("default/Pod/nginx/tagNotSpecified", Severity.LOW)
    assert container.details["messages"] == ["No tag"]


def test_what_starboard_says_in_both_forms_is_said_once() -> None:
    """For a time it wrote both, with the same content."""
    old = {"checkID": "hostPIDSet", "message": "Host PID is set", "severity": "DANGER", "success": False}

    [finding] = parse(an_assessment([a_check()], podChecks=[old], containerChecks={"web": [old]}))

    assert finding.details["checkID"] == "KSV014"


# ---------------------------------------------------------------- secrets


def test_an_exposed_secret_becomes_a_finding() -> None:
    """records.md, the line "trivy exposed secret", to the letter."""
    assert only(a_secret_report(a_secret())) == Finding(
        type=EXPOSED_SECRET,
        key="default/Pod/nginx/github-pat",
        severity=Severity.CRITICAL,
        title="GitHub Personal Access Token in root/github.txt",
        resource=Resource("v1", "Pod", "nginx", "default"),
        details={"ruleID": "github-pat", "target": "root/github.txt", "targets": ["root/github.txt"]},
        detected_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
    )


@pytest.mark.parametrize("missing", ["title", "target", "severity", "category", None])
def test_the_match_is_nowhere(missing: str | None) -> None:
    """It holds the line with the secret, which Trivy masks only as well as it can."""
    changes = {missing: None} if missing else {}
    finding = only(a_secret_report(a_secret(match="A_MATCH", **changes)))

    assert b"MATCH" not in orjson.dumps(finding)


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        (an_assessment(kind="ClusterComplianceReport"), "ClusterComplianceReport"),
        (an_assessment() | {"kind": None}, "kind is missing"),
        (an_assessment() | {"report": None}, "report"),
        (an_assessment([a_check(success=None)]), r"report\.checks\[0\]\.success"),
        (an_assessment([a_check(), a_check(success="false")]), r"report\.checks\[1\]\.success"),
        (an_assessment([a_check(checkID=None)]), r"report\.checks\[0\]\.checkID"),
        (an_assessment(["text"]), r"report\.checks\[0\]"),
        (an_assessment(checks={"a": 1}), r"report\.checks is not a list"),
        (an_assessment(podChecks=7), r"report\.podChecks is not a list"),
        (an_assessment(containerChecks={"web": [{}]}), r"report\.containerChecks\.web\[0\]\.success"),
        (a_secret_report(a_secret(ruleID=None)), r"report\.secrets\[0\]\.ruleID"),
        (a_secret_report("text"), r"report\.secrets\[0\]"),
    ],
)
def test_what_cannot_be_understood_is_bad_input_and_says_where(broken: dict[str, Any], where: str) -> None:
    """Half a report would resolve the findings of the other half."""
    with pytest.raises(BadInput, match=where):
        list(parse(broken))
