"""watchers/kyverno.py: findings in policy reports, and which results are Kyverno's. test_corpus.py reads real reports."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.parsed import whole
from tests.support.payloads import a_policy_report, a_result
from tests.support.tasks import must_end
from watchers.kyverno import KYVERNO, VIOLATION, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity

UNLABELLED: dict[str, Any] = {"labels": {}}


def finding_with(report: dict[str, Any] | None = None, **changes: Any) -> Finding:
    """The only finding of a report with this result."""
    [finding] = whole(parse(a_policy_report(a_result(**changes), **report or {})))
    return finding


def test_a_failed_result_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
    message = a_result()["message"]

    assert finding_with() == Finding(
        type=VIOLATION,
        key="default/Pod/nginx/require-labels/check-team",
        severity=Severity.HIGH,
        title="require-labels/check-team: Every Pod has a team.",
        resource=Resource("v1", "Pod", "nginx", "default"),
        details={
            "policy": "require-labels",
            "rule": "check-team",
            "message": message,
            "messages": [message],
            "policyCategory": "Best Practices",
        },
        detected_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
    )
    assert (VIOLATION.source, VIOLATION.name_prefix, VIOLATION.event_type, VIOLATION.category) == (
        KYVERNO.name,
        "kyverno-policy-",
        "policy-violation",
        "security",
    )


def test_both_forms_of_reports_are_read_and_ephemeral_ones_are_not() -> None:
    """Kyverno's reports-controller merges the ephemeral reports into these."""
    assert {resource.full_name for resource in KYVERNO.reads} == {
        "policyreports.wgpolicyk8s.io",
        "clusterpolicyreports.wgpolicyk8s.io",
        "reports.openreports.io",
        "clusterreports.openreports.io",
    }


def test_cluster_reports_have_no_namespace() -> None:
    """zenwatch does not read them if WATCH_NAMESPACE is set."""
    assert {resource.kind for resource in KYVERNO.reads if not resource.namespaced} == {"ClusterPolicyReport", "ClusterReport"}


@pytest.mark.parametrize("outcome", ["pass", "warn", "error", "skip", None, "FAILED", 7])
def test_only_failures_are_findings(outcome: Any) -> None:
    """docs/severity.md, "What is stored by default": every fail result."""
    assert list(parse(a_policy_report(a_result(result=outcome)))) == []


def test_the_field_status_of_the_first_version_is_read() -> None:
    """Kyverno's command line still writes wgpolicyk8s.io/v1alpha1."""
    assert finding_with(result=None, status="fail").key == "default/Pod/nginx/require-labels/check-team"


@pytest.mark.parametrize(
    ("word", "severity"),
    [
        ("critical", Severity.CRITICAL),
        ("high", Severity.HIGH),
        ("medium", Severity.MEDIUM),
        ("low", Severity.LOW),
        ("info", Severity.INFO),
        (None, Severity.MEDIUM),
        ("severe", Severity.MEDIUM),
        (3, Severity.MEDIUM),
    ],
)
def test_a_failure_without_a_severity_is_medium(word: Any, severity: Severity) -> None:
    """INFO would hide real failures."""
    assert finding_with(severity=word).severity is severity


# ---------------------------------------------------------------- results of Kyverno


@pytest.mark.parametrize(
    "source",
    [
        "kyverno",
        "Kyverno",
        "KyvernoValidatingPolicy",
        "KyvernoImageValidatingPolicy",
        "KyvernoNamespacedValidatingPolicy",
        "KyvernoGeneratingPolicy",
        "KyvernoMutatingPolicy",
    ],
)
def test_results_with_kyvernos_name_are_kept_in_any_report(source: str) -> None:
    """Kyverno's command line and its report server write no label."""
    assert finding_with({"metadata": UNLABELLED}, source=source).details["policy"] == "require-labels"


@pytest.mark.parametrize("source", ["Trivy Vulnerability", "Falco", "kube-bench", "Trivy ConfigAudit", "not-kyverno", "image-scanner"])
def test_results_of_other_programs_are_left_out_of_any_report(source: str) -> None:
    """zenwatch reads such findings from the program itself, or not at all. Otherwise it would count them twice."""
    assert list(parse(a_policy_report(a_result(source=source)))) == []
    assert list(parse(a_policy_report(a_result(source=source), metadata=UNLABELLED))) == []


@pytest.mark.parametrize("source", ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy", None, ""])
@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"labels": {"app.kubernetes.io/managed-by": "kyverno"}}, True),
        ({"labels": {"cpol.kyverno.io/require-labels": "6733157"}}, True),
        ({"labels": {"pol.kyverno.io/require-labels": "6733157"}}, True),
        ({"labels": {}, "name": "polr-ns-default"}, True),
        ({"labels": {}, "name": "clusterpolicyreport"}, True),
        ({"labels": {}}, False),
        ({"labels": None}, False),
        ({"labels": "text"}, False),
        ({"labels": {"app.kubernetes.io/managed-by": "falcosidekick"}}, False),
        ({"labels": {"policy.kubernetes.io/engine": "falco-agent"}}, False),
    ],
)
def test_results_without_kyvernos_name_are_kept_in_reports_that_kyverno_wrote(
    source: str | None, metadata: dict[str, Any], *, kept: bool
) -> None:
    """Also results for Kubernetes' own admission policies: Kyverno reports what they would refuse."""
    assert bool(list(parse(a_policy_report(a_result(source=source), metadata=metadata)))) is kept


def test_the_source_of_the_report_holds_for_results_without_a_source() -> None:
    """OpenReports has the source once for a report. The result's own source comes first."""
    openreport: dict[str, Any] = {"apiVersion": "openreports.io/v1alpha1", "kind": "Report", "metadata": UNLABELLED}

    assert len(list(parse(a_policy_report(a_result(source=None), **openreport, source="kyverno")))) == 1
    assert list(parse(a_policy_report(a_result(source=None), **openreport, source="trivy"))) == []
    assert list(parse(a_policy_report(a_result(source="trivy"), **openreport, source="kyverno"))) == []


# ---------------------------------------------------------------- the resource


def test_the_resource_is_the_scope_of_the_report() -> None:
    """docs/records.md, "Keys": namespace, kind and name are those of the resource, not those of the report."""
    scope = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"}

    finding = finding_with({"scope": scope}, resources=[{"kind": "Pod", "name": "other"}])

    assert finding.resource == Resource("apps/v1", "Deployment", "web", "shop")
    assert finding.key == "shop/Deployment/web/require-labels/check-team"


def test_a_result_about_several_resources_is_a_finding_for_each() -> None:
    """Up to 1.10 a report is for a policy and a namespace, and has no scope."""
    resources = [{"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "shop"} for name in ("a", "b")]

    found = whole(parse(a_policy_report(a_result(resources=resources), scope=None)))

    assert [finding.key for finding in found] == ["shop/Pod/a/require-labels/check-team", "shop/Pod/b/require-labels/check-team"]


@pytest.mark.parametrize("scope", [None, {}, "text", {"name": "nginx"}])
def test_without_a_scope_the_owner_is_the_resource(scope: Any) -> None:
    """The owner of a report is the resource that it is about."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}

    finding = finding_with({"scope": scope, "metadata": {"ownerReferences": [owner]}})

    assert finding.resource == Resource("apps/v1", "Deployment", "web", "default")


@pytest.mark.parametrize("owners", [None, [], "text", [{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "require-labels"}]])
def test_without_scope_and_owner_only_the_namespace_is_known(owners: Any) -> None:
    """A policy may own its report, but the policy does not break itself. Empty parts keep their slashes."""
    finding = finding_with({"scope": None, "metadata": {"ownerReferences": owners}})

    assert (finding.key, finding.resource) == ("default///require-labels/check-team", Resource(namespace="default"))


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"kind": "Pod", "name": "nginx"}, "default/Pod/nginx/require-labels/check-team"),
        ({"kind": "Namespace", "name": "shop"}, "/Namespace/shop/require-labels/check-team"),
        ({"kind": "ClusterRole", "name": "admin", "namespace": ""}, "/ClusterRole/admin/require-labels/check-team"),
    ],
)
def test_a_namespaced_resource_is_in_the_reports_namespace(scope: dict[str, str], key: str) -> None:
    """A reference need not repeat the namespace."""
    assert finding_with({"scope": scope}).key == key


def test_the_policy_has_the_name_in_the_result() -> None:
    """docs/records.md, "Keys": the name of a namespaced policy contains its namespace."""
    assert finding_with(policy="shop/require-labels").key == "default/Pod/nginx/shop/require-labels/check-team"


def test_policies_of_the_new_kinds_have_no_rule() -> None:
    """docs/records.md, "Keys": the last part is then empty."""
    finding = finding_with(rule=None)

    assert finding.key == "default/Pod/nginx/require-labels/"
    assert finding.title == "require-labels: Every Pod has a team."
    assert "rule" not in finding.details


# ---------------------------------------------------------------- title and time


@pytest.mark.parametrize(
    ("message", "title"),
    [
        ("validation error: No root. Ever. rule r failed at path /spec/", "No root."),
        ("validation error: No root. rule r failed at path /spec/", "No root"),
        (
            "validation error: A mutable tag e.g. 'latest' is not allowed. rule r failed at path /spec/",
            "A mutable tag e.g. 'latest' is not allowed",
        ),
        ("Validation error: No root; Validation rule r failed at path /spec/", "No root"),
        ('validation error: "No root.". rule r failed at path /spec/', "No root."),
        ("validation failure: No root", "No root"),
        ("validation error: rule r failed at path /spec/", "failed"),
        ("No root\nor else", "No root"),
        ("image v1.2.3 is not signed", "image v1.2.3 is not signed"),
        (None, "failed"),
        (" ", "failed"),
    ],
)
def test_the_title_is_the_text_of_the_policy(message: str | None, title: str) -> None:
    """Without Kyverno's own words. The details have the whole message."""
    separator = " " if title == "failed" else ": "

    assert finding_with(message=message).title == f"require-labels/check-team{separator}{title}"


def test_a_very_long_message_takes_linear_time() -> None:
    """A policy may put half a resource into it. Quadratic time would be an hour."""
    with must_end():
        assert finding_with(message="No root" + 5_000_000 * " " + "at all").details["message"]


@pytest.mark.parametrize(
    "timestamp",
    [None, {}, "text", {"seconds": "1"}, {"seconds": True}, {"seconds": 10**30}, {"seconds": -(10**30)}, {"seconds": 0, "nanos": 0}, 7],
)
def test_an_impossible_time_is_none(timestamp: Any) -> None:
    """The record then has the time when zenwatch first saw the finding."""
    assert finding_with(timestamp=timestamp).detected_at is None


# ---------------------------------------------------------------- invalid reports


@pytest.mark.parametrize("results", [[], None])
def test_a_report_without_results_has_no_findings(results: Any) -> None:
    """Go omits an empty list."""
    assert list(parse(a_policy_report() | {"results": results})) == []


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        (a_policy_report(kind="EphemeralReport"), "EphemeralReport"),
        (a_policy_report(kind=None), "kind is missing"),
        (a_policy_report() | {"metadata": None}, "metadata"),
        (a_policy_report() | {"results": {}}, "results is not a list"),
        (a_policy_report(a_result(), "text"), r"results\[1\]"),
        (a_policy_report(a_result(), a_result(policy=" ")), r"results\[1\]\.policy"),
        (a_policy_report(a_result(resources=["text"])), r"results\[0\]\.resources\[0\]"),
    ],
)
def test_an_invalid_report_is_bad_input_and_the_error_states_where(broken: dict[str, Any], where: str) -> None:
    """Half a report would resolve the findings of the other half."""
    with pytest.raises(BadInput, match=where):
        whole(parse(broken))


def test_a_result_that_is_not_understood_costs_only_itself() -> None:
    """The other results of the report are found."""
    report = a_policy_report() | {"results": [a_result(policy=""), 7, a_result()]}
    first, second, finding = parse(report)

    assert [str(first), str(second), isinstance(finding, Finding)] == ["results[0].policy is missing", "results[1] is not an object", True]
