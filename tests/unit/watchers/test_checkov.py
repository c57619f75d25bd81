"""watchers/checkov.py: findings in the scanner's output. The payloads are invented; test_corpus.py reads real ones."""

from typing import Any

import orjson
import pytest

from tests.support.parsed import whole
from tests.support.payloads import a_benchmark, a_config_map, a_control, a_failed_check, a_scan
from watchers.checkov import CHECKOV, FAILED_CHECK, claims, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity

NOTHING_TO_SCAN = {"passed": 0, "failed": 0, "skipped": 0, "parsing_errors": 0, "resource_count": 0, "checkov_version": "3.3.30"}


def found(document: Any) -> list[Finding]:
    return whole(parse(a_config_map({"results.json": document})))


def finding_with(*, framework: str = "kubernetes", **changes: Any) -> Finding:
    """The only finding of an output with this check."""
    [finding] = found(a_scan(a_failed_check(**changes), framework=framework))
    return finding


def test_a_failed_check_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
    assert finding_with() == Finding(
        type=FAILED_CHECK,
        key="CKV_K8S_22/Deployment.shop.catalog",
        severity=Severity.LOW,
        title="CKV_K8S_22: Use read-only filesystem for containers where possible",
        resource=Resource("apps/v1", "Deployment", "catalog", "shop"),
        details={
            "checkId": "CKV_K8S_22",
            "checkName": "Use read-only filesystem for containers where possible",
            "file": "/deployment.yaml",
            "lines": "5-13",
            "framework": "kubernetes",
            "guideline": "https://example.test/ckv-k8s-22",
            "locations": ["/deployment.yaml:5-13"],
        },
        references=["https://example.test/ckv-k8s-22"],
    )
    assert (FAILED_CHECK.source, FAILED_CHECK.name_prefix, FAILED_CHECK.event_type, FAILED_CHECK.category) == (
        CHECKOV.name,
        "checkov-",
        "static-analysis",
        "security",
    )


@pytest.mark.parametrize("missing", [None, "check_name", "file_path", "file_line_range", "resource", "severity", "guideline"])
def test_no_code_is_in_a_finding(missing: str | None) -> None:
    """Code may hold a secret."""
    changes: dict[str, Any] = {missing: None} if missing else {}

    assert b"CODE" not in orjson.dumps(finding_with(**changes))


@pytest.mark.parametrize(
    ("document", "keys"),
    [
        (a_scan(a_failed_check()), ["CKV_K8S_22/Deployment.shop.catalog"]),
        ([a_scan(a_failed_check()), a_scan(framework="terraform")], ["CKV_K8S_22/Deployment.shop.catalog"]),
        (a_scan(a_failed_check()) | {"results": {"failed_checks": [a_failed_check()]}}, ["CKV_K8S_22/Deployment.shop.catalog"]),
        (NOTHING_TO_SCAN, []),
        ([NOTHING_TO_SCAN], []),
        (a_scan(), []),
    ],
    ids=["one-framework", "several", "quiet", "nothing", "nothing-in-a-list", "all-passed"],
)
def test_every_form_of_output_is_read_and_claimed(document: Any, keys: list[str]) -> None:
    """The form depends on the number of frameworks, on --quiet, and on whether there was anything to scan."""
    assert [finding.key for finding in found(document)] == keys
    assert claims(document)


@pytest.mark.parametrize("document", [{}, [], [1], None, "text", {"results": {}}, a_benchmark(), [a_control()]])
def test_other_documents_are_not_claimed(document: Any) -> None:
    """`zenwatch preview` asks every watcher about every document."""
    assert not claims(document)


@pytest.mark.parametrize(
    ("check_id", "raw", "severity", "inferred"),
    [
        ("CKV_K8S_22", "CRITICAL", Severity.CRITICAL, False),
        ("CKV_K8S_22", "high", Severity.HIGH, False),
        ("CKV_K8S_22", "Medium", Severity.MEDIUM, False),
        ("CKV_K8S_22", "INFO", Severity.INFO, False),
        ("CKV_K8S_22", "MODERATE", Severity.MEDIUM, False),
        ("CKV_K8S_22", "IMPORTANT", Severity.HIGH, False),
        ("CKV_K8S_22", "NONE", Severity.INFO, False),
        ("CKV_K8S_16", "LOW", Severity.LOW, False),
        ("CKV_K8S_22", None, Severity.MEDIUM, True),
        ("CKV_K8S_22", "unheard of", Severity.MEDIUM, True),
        ("CKV_K8S_22", 4, Severity.MEDIUM, True),
        ("CKV_K8S_16", None, Severity.HIGH, True),
        ("CKV_K8S_20", None, Severity.HIGH, True),
        ("CKV_K8S_23", None, Severity.HIGH, True),
    ],
)
def test_a_missing_severity_is_inferred_and_the_record_is_marked(check_id: str, raw: Any, severity: Severity, *, inferred: bool) -> None:
    """Checkov gives no severity without a platform key."""
    finding = finding_with(check_id=check_id, severity=raw)

    assert (finding.severity, finding.details.get("severityInferred", False)) == (severity, inferred)


@pytest.mark.parametrize(
    ("framework", "printed", "resource"),
    [
        ("kubernetes", "Pod.default.legacy", Resource("v1", "Pod", "legacy", "default")),
        ("kubernetes", "Pod.shop.app.kubernetes.io", Resource("v1", "Pod", "app.kubernetes.io", "shop")),
        ("kubernetes", "Rollout.shop.web", Resource("", "Rollout", "web", "shop")),
        ("kubernetes", "ClusterRole.default.system:node", Resource("rbac.authorization.k8s.io/v1", "ClusterRole", "system:node", "")),
        ("kubernetes", "Namespace.default.shop", Resource("v1", "Namespace", "shop", "")),
        ("kubernetes", "something else", Resource(kind="File", name="/deployment.yaml")),
        ("kubernetes", "Pod.UPPER_case.web", Resource(kind="File", name="/deployment.yaml")),
        ("helm", "Deployment.default.RELEASE-NAME-web", Resource("apps/v1", "Deployment", "RELEASE-NAME-web", "default")),
        ("kustomize", "base:Deployment.shop.web", Resource("apps/v1", "Deployment", "web", "shop")),
        ("kustomize", "overlay:dev:Deployment.shop.web", Resource("apps/v1", "Deployment", "web", "shop")),
        ("terraform", "aws_s3_bucket.logs", Resource(kind="aws_s3_bucket", name="logs")),
        ("terraform", "aws_instance.counted[0]", Resource(kind="aws_instance", name="counted[0]")),
        ("terraform", "data.aws_iam_policy_document.x", Resource(kind="aws_iam_policy_document", name="x")),
        ("terraform", 'module.eu["a.b"].module.store.aws_s3_bucket.logs["x/y"]', Resource(kind="aws_s3_bucket", name='logs["x/y"]')),
        ("terraform", "kubernetes_pod.web", Resource(kind="kubernetes_pod", name="web")),
        ("cloudformation", "AWS::S3::Bucket.Logs", Resource(kind="AWS::S3::Bucket", name="Logs")),
        ("", "Pod.default.legacy", Resource("v1", "Pod", "legacy", "default")),
        ("", "aws_s3_bucket.logs", Resource(kind="aws_s3_bucket", name="logs")),
        ("dockerfile", "/Dockerfile.EXPOSE", Resource(kind="File", name="/deployment.yaml")),
        ("sca_package", "requirements.txt.requests", Resource(kind="File", name="/deployment.yaml")),
        ("github_actions", "jobs(build)", Resource(kind="File", name="/deployment.yaml")),
    ],
)
def test_the_printed_resource_is_parsed(framework: str, printed: str, resource: Resource) -> None:
    """The key keeps the printed text."""
    finding = finding_with(framework=framework, resource=printed)

    assert (finding.resource, finding.key) == (resource, f"CKV_K8S_22/{printed}")


def test_without_a_printed_resource_and_a_file_the_finding_has_no_resource() -> None:
    """The part of the key stays empty and keeps its slash."""
    finding = finding_with(resource=None, file_path=None)

    assert (finding.resource, finding.key) == (Resource(), "CKV_K8S_22/")
    assert "locations" not in finding.details


@pytest.mark.parametrize(
    ("raw", "lines"),
    [
        ([5, 13], "5-13"),
        ([4, 4], "4"),
        ([0, 0], "0"),
        ([-1, 2], None),
        ([1], None),
        ([1, 2, 3], None),
        ([1, "2"], None),
        ([True, False], None),
        ([1, 2**80], None),
        ("5-13", None),
        (None, None),
    ],
)
def test_lines_are_two_numbers(raw: Any, lines: str | None) -> None:
    """Otherwise the location is only the file."""
    check = a_failed_check() | {"file_line_range": raw}

    [finding] = found(a_scan(check))

    assert finding.details.get("lines") == lines
    assert finding.details["locations"] == [f"/deployment.yaml:{lines}" if lines else "/deployment.yaml"]


@pytest.mark.parametrize("guideline", [None, "See the wiki", "https://example.test/a b"])
def test_only_an_address_is_a_reference(guideline: str | None) -> None:
    """Custom policies may have any text."""
    assert finding_with(guideline=guideline).references == []


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (7, r"results\.json is not an object"),
        ([a_scan(), "text"], r"results\.json\[1\] is not an object"),
        ({"failed": 3, "checkov_version": "3.3.30"}, r"results\.json: results\.failed_checks is missing"),
        ({}, r"results\.json: results\.failed_checks is missing"),
        ({"results": []}, r"results\.failed_checks is missing"),
        ({"results": {"passed_checks": []}}, r"results\.failed_checks is missing"),
        ({"results": {"failed_checks": {}}}, r"results\.failed_checks is not a list"),
        (a_scan(a_failed_check(), "text"), r"results\.json: results\.failed_checks\[1\] is not"),
        ([a_scan(), a_scan(a_failed_check(check_id=""))], r"results\.json\[1\]: results\.failed_checks\[0\]\.check_id"),
    ],
)
def test_an_invalid_output_is_bad_input_and_the_error_states_where(document: Any, where: str) -> None:
    """Half an output would resolve the findings of the other half."""
    with pytest.raises(BadInput, match=where):
        found(document)


def test_only_config_maps_with_its_label_are_read() -> None:
    """A cluster has thousands of other ConfigMaps."""
    [resource] = CHECKOV.reads

    assert (resource.full_name, resource.label_selector) == ("configmaps", "app=checkov")


def test_a_check_that_is_not_understood_costs_only_itself() -> None:
    """Neither the other checks nor the other frameworks."""
    entries = list(
        parse(a_config_map({"results.json": [a_scan(a_failed_check(check_id=""), a_failed_check()), {"check_type": "x", "results": 7}]}))
    )

    assert [str(entry) for entry in entries if isinstance(entry, BadInput)] == [
        "results.json[0]: results.failed_checks[0].check_id is missing",
        "results.json[1]: results.failed_checks is missing",
    ]
    assert sum(isinstance(entry, Finding) for entry in entries) == 1


def test_sarif_is_named_with_what_is_read_instead() -> None:
    """It is JSON, so that only its form shows that it is the wrong output."""
    sarif = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [{"results": []}]}

    with pytest.raises(BadInput, match=r"^results\.json is SARIF; zenwatch reads what checkov -o json prints$"):
        found(sarif)
