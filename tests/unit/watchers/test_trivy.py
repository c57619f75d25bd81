"""watchers/trivy.py: what Trivy Operator's reports say. The payloads are made up; test_trivy_corpus.py reads real ones."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from watchers.trivy import TRIVY, VULNERABILITY, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity


def only(*args: Any, **kwargs: Any) -> Finding:
    """The one finding of a_report(...)."""
    [finding] = parse(a_report(*args, **kwargs))
    return finding


def of(**changes: Any) -> Finding:
    """The one finding of a report with this vulnerability."""
    return only([a_vulnerability(**changes)])


def test_a_vulnerability_becomes_a_finding() -> None:
    """records.md, the line "trivy vulnerability", to the letter."""
    assert of() == Finding(
        type=VULNERABILITY,
        key="default/Pod/nginx/CVE-2026-1",
        severity=Severity.HIGH,
        title="CVE-2026-1 in zlib 1.2",
        resource=Resource("v1", "Pod", "nginx", "default"),
        details={
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
        remediation="Upgrade zlib to 1.3",
        references=["https://example.test/CVE-2026-1"],
        tool_score=7.5,
        has_fix=True,
        detected_at=datetime(2026, 1, 1, 10, tzinfo=UTC),
    )
    assert (VULNERABILITY.source, VULNERABILITY.name_prefix, VULNERABILITY.event_type, VULNERABILITY.category) == (
        TRIVY.name,
        "trivy-vuln-",
        "vulnerability-report",
        "security",
    )


# ---------------------------------------------------------------- severity and score


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        ("CRITICAL", Severity.CRITICAL),
        ("HIGH", Severity.HIGH),
        ("MEDIUM", Severity.MEDIUM),
        ("LOW", Severity.LOW),
        ("UNKNOWN", Severity.INFO),
        ("NONE", Severity.INFO),
        ("high", Severity.HIGH),
        (" High ", Severity.HIGH),
        ("", Severity.INFO),
        (None, Severity.INFO),
        (7, Severity.INFO),
        ("_RANK", Severity.INFO),
    ],
)
def test_severities_are_the_same_words_and_unknown_ranks_as_info(said: Any, severity: Severity) -> None:
    """A severity that the tool does not know is no reason to lose the finding."""
    assert of(severity=said).severity is severity


@pytest.mark.parametrize(
    ("said", "tool_score"),
    [
        (7.5, 7.5),
        (9, 9.0),
        (0, 0.0),
        (10, 10.0),
        (None, None),
        (10.1, None),
        (-1, None),
        ("7.5", None),
        (True, None),
        ([7.5], None),
    ],
)
def test_a_score_is_a_number_from_0_to_10(said: Any, tool_score: float | None) -> None:
    """What is not is left out of the record and of our own score."""
    finding = of(score=said)

    assert finding.tool_score == tool_score
    assert finding.details.get("cvss") == (said if tool_score is not None else None)


# ---------------------------------------------------------------- what to do


@pytest.mark.parametrize(
    ("fixed_version", "remediation"),
    [
        ("1.3", "Upgrade zlib to 1.3"),
        ("4.0.4, 3.0.2", "Upgrade zlib to 4.0.4 or 3.0.2"),
        ("", ""),
        (None, ""),
    ],
)
def test_the_remediation_names_the_fixed_versions(fixed_version: str | None, remediation: str) -> None:
    """Where there is none, nothing is made up, and the score does not promise that it can be mended."""
    finding = of(fixedVersion=fixed_version)

    assert finding.remediation == remediation
    assert finding.has_fix is bool(remediation)
    assert ("fixedVersion" in finding.details) is bool(remediation)


@pytest.mark.parametrize(
    ("changes", "title", "packages"),
    [
        ({}, "CVE-2026-1 in zlib 1.2", ["zlib 1.2"]),
        ({"installedVersion": ""}, "CVE-2026-1 in zlib", ["zlib"]),
        ({"installedVersion": None, "resource": None}, "CVE-2026-1", None),
    ],
)
def test_the_title_says_where_as_far_as_it_is_known(changes: dict[str, Any], title: str, packages: list[str] | None) -> None:
    """No "in" without a package behind it."""
    finding = of(**changes)

    assert (finding.title, finding.details.get("packages")) == (title, packages)


def test_links_follow_the_primary_one() -> None:
    """The most useful first; what is no text is no link."""
    assert of(links=["https://example.test/2", 7, None]).references == ["https://example.test/CVE-2026-1", "https://example.test/2"]
    assert of(primaryLink=None).references == []


# ---------------------------------------------------------------- what was scanned


def test_the_resource_is_the_reported_one_not_the_report() -> None:
    """records.md: namespaces, kinds and names are the resource's."""
    finding = only([a_vulnerability()], name="report-name", namespace="other")

    assert finding.key == "other/Pod/nginx/CVE-2026-1"


@pytest.mark.parametrize("prefix", ["trivy-operator", "starboard", "imgvuln"])
def test_starboards_labels_are_read_too(prefix: str) -> None:
    """Its reports are of the same group and kind."""
    said = {"kind": "ReplicaSet", "name": "web-1", "namespace": "prod"}
    labels = {f"{prefix}.resource.{part}": value for part, value in said.items()} | {f"{prefix}.container.name": "c"}

    finding = only([a_vulnerability()], labels=labels)

    assert finding.resource == Resource("apps/v1", "ReplicaSet", "web-1", "prod")
    assert finding.details["container"] == "c"


def test_a_name_too_long_for_a_label_stands_in_an_annotation() -> None:
    """The label holds a hash of it instead."""
    long_name = "x" * 100
    labels = {
        "trivy-operator.resource.kind": "ReplicaSet",
        "trivy-operator.resource.name-hash": "7f8b",
        "trivy-operator.resource.namespace": "prod",
    }

    finding = only([a_vulnerability()], labels=labels, annotations={"trivy-operator.resource.name": long_name})

    assert finding.key == f"prod/ReplicaSet/{long_name}/CVE-2026-1"


def test_without_labels_the_owner_is_the_resource() -> None:
    """The controlling one of several; the namespace is the report's."""
    owners = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "other"},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "controller": True},
    ]

    finding = only([a_vulnerability()], labels={}, ownerReferences=owners, namespace="prod")

    assert finding.resource == Resource("apps/v1", "ReplicaSet", "web-1", "prod")


def test_the_api_version_is_the_owners_where_it_is_the_owner() -> None:
    """A kind of another group keeps its group; a kind that nobody tells has none."""
    labels = {"trivy-operator.resource.kind": "Rollout", "trivy-operator.resource.name": "web"}
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}

    assert only([a_vulnerability()], labels=labels, ownerReferences=[owner]).resource.api_version == "argoproj.io/v1alpha1"
    assert only([a_vulnerability()], labels=labels).resource.api_version == ""


def test_a_resource_without_a_namespace_keeps_the_slash() -> None:
    """records.md: an empty part of a key stays empty."""
    labels = {"trivy-operator.resource.kind": "Node", "trivy-operator.resource.name": "n1"}

    assert only([a_vulnerability()], labels=labels, namespace="").key == "/Node/n1/CVE-2026-1"


@pytest.mark.parametrize(
    ("report", "image"),
    [
        ({"registry": {"server": "r.test"}, "artifact": {"repository": "a/b", "tag": "1"}}, "r.test/a/b:1"),
        ({"registry": {"server": "r.test"}, "artifact": {"repository": "a/b"}}, "r.test/a/b"),
        ({"registry": None, "artifact": {"repository": "a/b", "tag": "1"}}, "a/b:1"),
        ({"registry": None, "artifact": None}, None),
        ({"registry": {}, "artifact": {"tag": "1"}}, None),
    ],
)
def test_the_image_is_named_as_far_as_it_is_known(report: dict[str, Any], image: str | None) -> None:
    """A tag without an image is nothing."""
    assert only([a_vulnerability()], report=report).details.get("image") == image


@pytest.mark.parametrize(
    ("said", "detected_at"),
    [
        ("2026-01-01T10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T12:00:00+02:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        (1767261600, None),
    ],
)
def test_the_time_of_the_scan_is_the_time_of_detection(said: Any, detected_at: datetime | None) -> None:
    """None: when we first saw it."""
    assert only([a_vulnerability()], report={"updateTimestamp": said}).detected_at == detected_at


# ---------------------------------------------------------------- the report as a whole


@pytest.mark.parametrize("vulnerabilities", [[], None])
def test_a_report_without_vulnerabilities_says_nothing(vulnerabilities: Any) -> None:
    """Go writes null for an empty list."""
    assert list(parse(a_report(report={"vulnerabilities": vulnerabilities}))) == []


def test_entries_that_occur_twice_are_two_findings_of_one_key() -> None:
    """They are received, and merged later: the ledger counts what the tool said."""
    first, second, other = parse(a_report([a_vulnerability(), a_vulnerability(), a_vulnerability(resource="openssl")]))

    assert first == second
    assert other.key == first.key


def test_every_severity_is_yielded() -> None:
    """What is kept is the user's choice and made later."""
    said = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"]

    assert len(list(parse(a_report([a_vulnerability(severity=severity) for severity in said])))) == 5


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"metadata": a_report()["metadata"]}, "report"),
        (a_report() | {"report": None}, "report"),
        (a_report() | {"report": []}, "report"),
        (a_report() | {"metadata": None}, "metadata"),
        (a_report([a_vulnerability(), a_vulnerability(vulnerabilityID=None)]), r"report\.vulnerabilities\[1\]\.vulnerabilityID"),
        (a_report([a_vulnerability(vulnerabilityID=" ")]), r"report\.vulnerabilities\[0\]\.vulnerabilityID"),
        (a_report(["text"]), r"report\.vulnerabilities\[0\]"),
        (a_report(report={"vulnerabilities": "text"}), r"report\.vulnerabilities"),
        (a_report(report={"vulnerabilities": {"vulnerabilityID": "x"}}), r"report\.vulnerabilities"),
        (a_report(report={"vulnerabilities": 5}), r"report\.vulnerabilities"),
        (a_report(report={"vulnerabilities": 0}), r"report\.vulnerabilities"),
        (a_report(report={"registry": "text"}), r"report\.registry"),
        (a_report(labels={}), r"resource\.kind"),
        (a_report(labels={"trivy-operator.resource.kind": "Pod"}), r"ownerReference"),
    ],
)
def test_what_cannot_be_understood_is_bad_input_and_says_where(broken: dict[str, Any], where: str) -> None:
    """Somebody has to find it in a cluster of thousands of reports."""
    with pytest.raises(BadInput, match=where):
        list(parse(broken))
