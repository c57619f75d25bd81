"""watchers/kyverno.py: what policy reports say, and which of it is Kyverno's. test_corpus.py reads real ones."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.payloads import a_policy_report, a_result
from tests.support.tasks import must_end
from watchers.kyverno import KYVERNO, VIOLATION, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity

UNLABELLED: dict[str, Any] = {"labels": {}}


def of(report: dict[str, Any] | None = None, **changes: Any) -> Finding:
    """The one finding of a report with this result."""
    [finding] = parse(a_policy_report(a_result(**changes), **report or {}))
    return finding


def test_a_failed_result_becomes_a_finding() -> None:
    """records.md, the line "kyverno", to the letter."""
    message = a_result()["message"]

    assert of() == Finding(
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
    """Kyverno's reports-controller merges the ephemeral ones into these."""
    assert {resource.full_name for resource in KYVERNO.reads} == {
        "policyreports.wgpolicyk8s.io",
        "clusterpolicyreports.wgpolicyk8s.io",
        "reports.openreports.io",
        "clusterreports.openreports.io",
    }


def test_cluster_reports_lie_in_no_namespace() -> None:
    """Where zenwatch is confined to namespaces, they are not asked for."""
    assert {resource.kind for resource in KYVERNO.reads if not resource.namespaced} == {"ClusterPolicyReport", "ClusterReport"}


@pytest.mark.parametrize("outcome", ["pass", "warn", "error", "skip", None, "FAILED", 7])
def test_only_failures_are_findings(outcome: Any) -> None:
    """Specification 003: the fail results."""
    assert list(parse(a_policy_report(a_result(result=outcome)))) == []


def test_the_first_version_called_the_outcome_status() -> None:
    """Kyverno's command line still writes wgpolicyk8s.io/v1alpha1."""
    assert of(result=None, status="fail").key == "default/Pod/nginx/require-labels/check-team"


@pytest.mark.parametrize(
    ("said", "severity"),
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
def test_a_failure_without_a_severity_is_medium(said: Any, severity: Severity) -> None:
    """Info, as others have it, would hide real failures."""
    assert of(severity=said).severity is severity


# ---------------------------------------------------------------- whose


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
def test_kyvernos_results_are_kept_in_any_report(source: str) -> None:
    """Its command line and its report server write no label."""
    assert of({"metadata": UNLABELLED}, source=source).details["policy"] == "require-labels"


@pytest.mark.parametrize("source", ["Trivy Vulnerability", "Falco", "kube-bench", "Trivy ConfigAudit", "not-kyverno", "image-scanner"])
def test_others_results_are_left_out_of_any_report(source: str) -> None:
    """They are read where they come from, or not at all; else they would be counted twice."""
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
def test_results_without_a_name_of_their_own_are_kyvernos_in_its_reports(
    source: str | None, metadata: dict[str, Any], *, kept: bool
) -> None:
    """Also of admission policies, which are Kubernetes' own: Kyverno tells what they would refuse."""
    assert bool(list(parse(a_policy_report(a_result(source=source), metadata=metadata)))) is kept


def test_openreports_name_the_source_once_for_the_report() -> None:
    """The result's own comes first."""
    openreport: dict[str, Any] = {"apiVersion": "openreports.io/v1alpha1", "kind": "Report", "metadata": UNLABELLED}

    assert len(list(parse(a_policy_report(a_result(source=None), **openreport, source="kyverno")))) == 1
    assert list(parse(a_policy_report(a_result(source=None), **openreport, source="trivy"))) == []
    assert list(parse(a_policy_report(a_result(source="trivy"), **openreport, source="kyverno"))) == []


# ---------------------------------------------------------------- about what


def test_the_resource_is_the_scope_not_where_the_report_lies() -> None:
    """records.md: namespaces, kinds and names are the reported resource's."""
    scope = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": "shop"}

    finding = of({"scope": scope}, resources=[{"kind": "Pod", "name": "other"}])

    assert finding.resource == Resource("apps/v1", "Deployment", "web", "shop")
    assert finding.key == "shop/Deployment/web/require-labels/check-team"


def test_a_result_about_several_resources_is_a_finding_for_each() -> None:
    """Up to 1.10: one report per policy and namespace, and no scope."""
    resources = [{"apiVersion": "v1", "kind": "Pod", "name": name, "namespace": "shop"} for name in ("a", "b")]

    found = list(parse(a_policy_report(a_result(resources=resources), scope=None)))

    assert [finding.key for finding in found] == ["shop/Pod/a/require-labels/check-team", "shop/Pod/b/require-labels/check-team"]


@pytest.mark.parametrize("scope", [None, {}, "text", {"name": "nginx"}])
def test_else_the_owner_is_the_resource(scope: Any) -> None:
    """Reports are owned by what they are about."""
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}

    finding = of({"scope": scope, "metadata": {"ownerReferences": [owner]}})

    assert finding.resource == Resource("apps/v1", "Deployment", "web", "default")


@pytest.mark.parametrize("owners", [None, [], "text", [{"apiVersion": "kyverno.io/v1", "kind": "ClusterPolicy", "name": "require-labels"}]])
def test_else_only_the_namespace_is_known(owners: Any) -> None:
    """A policy may own its report and is not what breaks itself. Empty parts keep their slashes."""
    finding = of({"scope": None, "metadata": {"ownerReferences": owners}})

    assert (finding.key, finding.resource) == ("default///require-labels/check-team", Resource(namespace="default"))


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ({"kind": "Pod", "name": "nginx"}, "default/Pod/nginx/require-labels/check-team"),
        ({"kind": "Namespace", "name": "shop"}, "/Namespace/shop/require-labels/check-team"),
        ({"kind": "ClusterRole", "name": "admin", "namespace": ""}, "/ClusterRole/admin/require-labels/check-team"),
    ],
)
def test_a_resource_is_in_the_reports_namespace_unless_it_is_in_none(scope: dict[str, str], key: str) -> None:
    """A reference need not repeat the namespace."""
    assert of({"scope": scope}).key == key


def test_the_policy_is_named_as_the_result_names_it() -> None:
    """records.md: with its namespace where it has one."""
    assert of(policy="shop/require-labels").key == "default/Pod/nginx/shop/require-labels/check-team"


def test_policies_of_the_new_kinds_have_no_rule() -> None:
    """records.md: an empty last part."""
    finding = of(rule=None)

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
def test_the_title_is_what_the_policy_says(message: str | None, title: str) -> None:
    """Without Kyverno's words around it; the whole message stands in the details."""
    separator = " " if title == "failed" else ": "

    assert of(message=message).title == f"require-labels/check-team{separator}{title}"


def test_the_time_for_a_message_grows_with_its_length_and_no_faster() -> None:
    """A policy may put half the resource into it; with the square of its length, this would take an hour."""
    with must_end():
        assert of(message="No root" + 5_000_000 * " " + "at all").details["message"]


@pytest.mark.parametrize(
    "timestamp",
    [None, {}, "text", {"seconds": "1"}, {"seconds": True}, {"seconds": 10**30}, {"seconds": -(10**30)}, {"seconds": 0, "nanos": 0}, 7],
)
def test_a_time_that_cannot_be_is_none(timestamp: Any) -> None:
    """Then it is when we first saw it."""
    assert of(timestamp=timestamp).detected_at is None


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize("results", [[], None])
def test_a_report_without_results_says_nothing(results: Any) -> None:
    """Go leaves an empty list out."""
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
def test_what_cannot_be_understood_is_bad_input_and_says_where(broken: dict[str, Any], where: str) -> None:
    """Half a report would resolve the findings of the other half."""
    with pytest.raises(BadInput, match=where):
        list(parse(broken))
