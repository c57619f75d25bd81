"""watchers/trivy.py: findings in Trivy Operator's reports. The payloads are invented; test_trivy_corpus.py reads real ones."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.parsed import whole
from watchers.trivy import TRIVY, VULNERABILITY, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity


def only(*args: Any, **kwargs: Any) -> Finding:
    """The only finding of a_report(...)."""
    [finding] = whole(parse(a_report(*args, **kwargs)))
    return finding


def finding_with(**changes: Any) -> Finding:
    """The only finding of a report with this vulnerability."""
    return only([a_vulnerability(**changes)])


def test_a_vulnerability_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
    assert finding_with() == Finding(
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
    ("word", "severity"),
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
def test_severities_keep_their_words_and_unknown_becomes_info(word: Any, severity: Severity) -> None:
    """An unknown severity is no reason to lose the finding."""
    assert finding_with(severity=word).severity is severity


@pytest.mark.parametrize(
    ("raw", "tool_score"),
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
def test_a_score_is_a_number_from_0_to_10(raw: Any, tool_score: float | None) -> None:
    """Any other value is neither in the record nor in the record's score."""
    finding = finding_with(score=raw)

    assert finding.tool_score == tool_score
    assert finding.details.get("cvss") == (raw if tool_score is not None else None)


# ---------------------------------------------------------------- remediation and title


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
    """Without a fixed version the record has no remediation, and its score counts no fix."""
    finding = finding_with(fixedVersion=fixed_version)

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
def test_the_title_names_the_package_if_it_is_known(changes: dict[str, Any], title: str, packages: list[str] | None) -> None:
    """The title has no "in" without a package."""
    finding = finding_with(**changes)

    assert (finding.title, finding.details.get("packages")) == (title, packages)


def test_links_follow_the_primary_one() -> None:
    """The most useful link comes first. A value that is no text is no link."""
    assert finding_with(links=["https://example.test/2", 7, None]).references == [
        "https://example.test/CVE-2026-1",
        "https://example.test/2",
    ]
    assert finding_with(primaryLink=None).references == []


# ---------------------------------------------------------------- the resource


def test_the_resource_is_the_scanned_resource() -> None:
    """docs/records.md, "Keys": namespace, kind and name are those of the resource, not those of the report."""
    finding = only([a_vulnerability()], name="report-name", namespace="other")

    assert finding.key == "other/Pod/nginx/CVE-2026-1"


@pytest.mark.parametrize("prefix", ["trivy-operator", "starboard", "imgvuln"])
def test_starboards_labels_are_read_too(prefix: str) -> None:
    """Starboard's reports have the same group and kind."""
    about = {"kind": "ReplicaSet", "name": "web-1", "namespace": "prod"}
    labels = {f"{prefix}.resource.{part}": value for part, value in about.items()} | {f"{prefix}.container.name": "c"}

    finding = only([a_vulnerability()], labels=labels)

    assert finding.resource == Resource("apps/v1", "ReplicaSet", "web-1", "prod")
    assert finding.details["container"] == "c"


def test_a_name_that_is_too_long_for_a_label_comes_from_an_annotation() -> None:
    """The label then has a hash of the name."""
    long_name = "x" * 100
    labels = {
        "trivy-operator.resource.kind": "ReplicaSet",
        "trivy-operator.resource.name-hash": "7f8b",
        "trivy-operator.resource.namespace": "prod",
    }

    finding = only([a_vulnerability()], labels=labels, annotations={"trivy-operator.resource.name": long_name})

    assert finding.key == f"prod/ReplicaSet/{long_name}/CVE-2026-1"


def test_without_labels_the_owner_is_the_resource() -> None:
    """Of several owners it is the controller. The namespace is that of the report."""
    owners = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "other"},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "controller": True},
    ]

    finding = only([a_vulnerability()], labels={}, ownerReferences=owners, namespace="prod")

    assert finding.resource == Resource("apps/v1", "ReplicaSet", "web-1", "prod")


def test_the_api_version_comes_from_the_owner_if_the_resource_is_the_owner() -> None:
    """A kind of a custom group keeps its group. A kind without a known group has none."""
    labels = {"trivy-operator.resource.kind": "Rollout", "trivy-operator.resource.name": "web"}
    owner = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}

    assert only([a_vulnerability()], labels=labels, ownerReferences=[owner]).resource.api_version == "argoproj.io/v1alpha1"
    assert only([a_vulnerability()], labels=labels).resource.api_version == ""


def test_a_resource_without_a_namespace_keeps_the_slash() -> None:
    """docs/records.md, "Keys": an empty part of a key stays empty."""
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
def test_the_image_has_the_known_parts_of_its_name(report: dict[str, Any], image: str | None) -> None:
    """A tag without a repository is no image."""
    assert only([a_vulnerability()], report=report).details.get("image") == image


@pytest.mark.parametrize(
    ("raw", "detected_at"),
    [
        ("2026-01-01T10:00:00Z", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("2026-01-01T12:00:00+02:00", datetime(2026, 1, 1, 10, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        (1767261600, None),
    ],
)
def test_the_time_of_the_scan_is_the_time_of_detection(raw: Any, detected_at: datetime | None) -> None:
    """None: the record has the time when zenwatch first saw the finding."""
    assert only([a_vulnerability()], report={"updateTimestamp": raw}).detected_at == detected_at


# ---------------------------------------------------------------- the report as a whole


@pytest.mark.parametrize("vulnerabilities", [[], None])
def test_a_report_without_vulnerabilities_has_no_findings(vulnerabilities: Any) -> None:
    """Go writes null for an empty list."""
    assert list(parse(a_report(report={"vulnerabilities": vulnerabilities}))) == []


def test_repeated_entries_are_two_findings_with_the_same_key() -> None:
    """zenwatch merges them later, and the ledger counts both."""
    first, second, other = whole(parse(a_report([a_vulnerability(), a_vulnerability(), a_vulnerability(resource="openssl")])))

    assert first == second
    assert other.key == first.key


def test_every_severity_is_yielded() -> None:
    """zenwatch filters later, by the user's settings."""
    words = ["CRITICAL", "HIGH", "MEDIUM", "LOW", "UNKNOWN"]

    assert len(list(parse(a_report([a_vulnerability(severity=severity) for severity in words])))) == 5


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
def test_an_invalid_report_is_bad_input_and_the_error_states_where(broken: dict[str, Any], where: str) -> None:
    """A person must find the field in a cluster with thousands of reports."""
    with pytest.raises(BadInput, match=where):
        whole(parse(broken))


def test_an_entry_that_is_not_understood_costs_only_itself() -> None:
    """One package without an identifier does not hide the others."""
    first, error, last = parse(a_report([a_vulnerability(), a_vulnerability(vulnerabilityID=None), a_vulnerability(resource="openssl")]))

    assert all(isinstance(entry, Finding) for entry in (first, last))
    assert str(error) == "report.vulnerabilities[1].vulnerabilityID is missing"
