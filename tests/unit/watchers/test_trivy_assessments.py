"""watchers/trivy.py: the reports of checks and of secrets. test_trivy.py has the vulnerabilities."""

from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.parsed import whole
from tests.support.payloads import a_check, a_secret, a_secret_report, an_assessment
from watchers.trivy import CONFIG_AUDIT, EXPOSED_SECRET, TRIVY, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Category, Finding, Resource, Severity


def only(report: dict[str, Any]) -> Finding:
    [finding] = whole(parse(report))
    return finding


def test_a_failed_check_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
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
def test_the_kind_of_a_report_decides_the_type_of_its_findings(kind: str, name_prefix: str, event_type: str, category: Category) -> None:
    """As in docs/records.md, "By source"."""
    finding = only(an_assessment([a_check()], kind=kind))

    assert astuple(finding.type) == ("trivy", name_prefix, event_type, category)


def test_every_kind_but_the_summary_is_read() -> None:
    """The ClusterComplianceReport only counts the findings of the other reports."""
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


def test_cluster_reports_have_no_namespace() -> None:
    """zenwatch does not read them if WATCH_NAMESPACE is set."""
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


def test_a_passed_check_is_no_finding() -> None:
    """Whatever fields it lacks."""
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
def test_the_key_begins_with_the_scanned_resource(about: tuple[str, str, str], key: str, api_version: str) -> None:
    """An empty part keeps its slash. The group of a well-known kind is filled in."""
    finding = only(an_assessment([a_check(checkID="KSV041")], about=about))

    assert (finding.key, finding.resource.api_version) == (key, api_version)


def test_a_node_has_no_namespace_although_its_report_has_one() -> None:
    """The operator puts reports about nodes into its own namespace."""
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
def test_messages_are_a_detail_and_a_list(changes: dict[str, Any], details: dict[str, Any]) -> None:
    """The first message is a scalar, all are a list. Trivy writes an empty message for a check without messages."""
    assert only(an_assessment([a_check(**changes)])).details == {"checkID": "KSV014"} | details


def test_a_check_without_a_title_has_its_id_as_the_title() -> None:
    """The ids of older scanners are words."""
    finding = only(an_assessment([a_check(checkID="hostPIDSet", title=None, remediation=None)]))

    assert (finding.title, finding.remediation, finding.has_fix) == ("hostPIDSet", "", False)


@pytest.mark.parametrize("checks", [[], None])
def test_a_report_without_checks_has_no_findings(checks: Any) -> None:
    """Go writes null for an empty list."""
    assert list(parse(an_assessment(checks=checks))) == []


# ---------------------------------------------------------------- Starboard


def test_starboards_first_form_is_read() -> None:
    """It has lists of checks for the pod and for each container, a single message per check, and two severities."""
    body: dict[str, Any] = {
        "podChecks": [{"checkID": "hostPIDSet", "message": "Host PID is set", "severity": "DANGER", "success": False}],
        "containerChecks": {
            "web": [{"checkID": "tagNotSpecified", "message": "No tag", "severity": "WARNING", "success": False}],
            "log": [{"checkID": "tagNotSpecified", "message": "A tag", "severity": "WARNING", "success": True}],
        },
    }

    pod, container = whole(parse(an_assessment(**body)))

    assert (pod.key, pod.severity) == ("default/Pod/nginx/hostPIDSet", Severity.CRITICAL)
    assert (container.key, container.severity) == ("default/Pod/nginx/tagNotSpecified", Severity.LOW)
    assert container.details["messages"] == ["No tag"]


def test_checks_that_starboard_wrote_in_both_forms_are_read_once() -> None:
    """For a time Starboard wrote both forms with the same content."""
    old = {"checkID": "hostPIDSet", "message": "Host PID is set", "severity": "DANGER", "success": False}

    [finding] = whole(parse(an_assessment([a_check()], podChecks=[old], containerChecks={"web": [old]})))

    assert finding.details["checkID"] == "KSV014"


# ---------------------------------------------------------------- secrets


def test_an_exposed_secret_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
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
def test_the_match_is_in_no_finding(missing: str | None) -> None:
    """It is the line with the secret, and Trivy cannot mask every secret."""
    changes = {missing: None} if missing else {}
    finding = only(a_secret_report(a_secret(match="A_MATCH", **changes)))

    assert b"MATCH" not in orjson.dumps(finding)


# ---------------------------------------------------------------- invalid reports


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
def test_an_invalid_report_is_bad_input_and_the_error_states_where(broken: dict[str, Any], where: str) -> None:
    """Half a report would resolve the findings of the other half."""
    with pytest.raises(BadInput, match=where):
        whole(parse(broken))


def test_a_check_or_secret_that_is_not_understood_costs_only_itself() -> None:
    """In each list of checks, too."""
    errors = [
        [str(entry) for entry in parse(report) if isinstance(entry, BadInput)]
        for report in (
            an_assessment([a_check(), a_check(success=None), a_check()]),
            an_assessment(checks=[], podChecks=[a_check(checkID="")], containerChecks={"web": [7, a_check()]}),
            a_secret_report(a_secret(ruleID=""), a_secret()),
        )
    ]

    assert errors == [
        ["report.checks[1].success is missing"],
        ["report.podChecks[0].checkID is missing", "report.containerChecks.web[0] is not an object"],
        ["report.secrets[0].ruleID is missing"],
    ]
