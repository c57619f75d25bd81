"""watchers/kube_bench.py: findings in the benchmark's output. The payloads are invented; test_corpus.py reads real ones."""

from typing import Any

import orjson
import pytest

from tests.support.parsed import whole
from tests.support.payloads import a_benchmark, a_config_map, a_control, a_scan, a_test
from watchers.kube_bench import FAILED_TEST, KUBE_BENCH, claims, parse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Resource, Severity

ON_WORKER_1 = {"labels": {"app": "kube-bench", "kube-bench/node": "worker-1"}}


def found(document: Any, **parts: Any) -> list[Finding]:
    return whole(parse(a_config_map({"results.json": document}, **parts)))


def finding_with(**changes: Any) -> Finding:
    """The only finding of an output with this test."""
    [finding] = found(a_benchmark(a_test(**changes)))
    return finding


def test_a_failed_test_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details". It is about the cluster, so it has no resource."""
    assert found(a_benchmark(a_test()), metadata=ON_WORKER_1) == [
        Finding(
            type=FAILED_TEST,
            key="4.1.1",
            severity=Severity.HIGH,
            title="4.1.1 Ensure that the kubelet service file permissions are set to 600 (Automated)",
            resource=Resource(),
            details={
                "testNumber": "4.1.1",
                "description": "Ensure that the kubelet service file permissions are set to 600 (Automated)",
                "section": "4.1",
                "scored": True,
                "actualValue": "permissions=644",
                "nodes": ["worker-1"],
                "versions": ["cis-1.12 (Kubernetes 1.35)"],
            },
            remediation="chmod 600 /etc/systemd/system/kubelet.service",
            has_fix=True,
        )
    ]
    assert (FAILED_TEST.source, FAILED_TEST.name_prefix, FAILED_TEST.event_type, FAILED_TEST.category) == (
        KUBE_BENCH.name,
        "kube-bench-",
        "cis-benchmark-fail",
        "compliance",
    )


@pytest.mark.parametrize(
    "document",
    [
        a_benchmark(a_test()),
        {"Controls": [a_control(a_test())]},
        [a_control(a_test())],
        a_control(a_test()),
        [a_benchmark(a_test())],
    ],
    ids=["with-totals", "without-totals", "list", "one-control", "list-of-nodes"],
)
def test_every_form_of_output_is_read_and_claimed(document: Any) -> None:
    """The form depends on the version and on --nototals, and people may join several outputs."""
    assert [finding.key for finding in found(document)] == ["4.1.1"]
    assert claims(document)


def test_several_outputs_in_a_text_are_read() -> None:
    """Old versions printed each control as a separate document."""
    text = "\n".join(orjson.dumps(a_control(a_test(test_number=number))).decode() for number in ("1.1.1", "4.1.1"))

    assert [finding.key for finding in found(text)] == ["1.1.1", "4.1.1"]


@pytest.mark.parametrize("document", [{}, [], [1], None, "text", {"Totals": {}}, {"tests": []}, a_scan(), [a_scan()]])
def test_other_documents_are_not_claimed(document: Any) -> None:
    """`zenwatch preview` asks every watcher about every document."""
    assert not claims(document)


@pytest.mark.parametrize("status", ["PASS", "WARN", "INFO", "MANU"])
def test_only_failures_are_findings(status: str) -> None:
    """WARN means that a person must check it."""
    assert found(a_benchmark(a_test(status=status, test_number=None))) == []


@pytest.mark.parametrize(
    ("scored", "severity", "says"),
    [
        (True, Severity.HIGH, True),
        (False, Severity.MEDIUM, False),
        ("true", Severity.HIGH, True),
        ("False", Severity.MEDIUM, False),
        (None, Severity.HIGH, True),
    ],
)
def test_a_scored_test_is_high(scored: Any, severity: Severity, *, says: bool) -> None:
    """A test that is not scored warns and does not fail, so a test without the field counts as scored."""
    finding = finding_with(scored=scored)

    assert (finding.severity, finding.details["scored"]) == (severity, says)


@pytest.mark.parametrize(
    ("metadata", "nodes"),
    [
        ({"labels": {"kube-bench/node": "worker-1"}}, ["worker-1"]),
        ({"annotations": {"kube-bench/node": "worker-1"}}, ["worker-1"]),
        ({"labels": {"kubernetes.io/hostname": "worker-1"}}, ["worker-1"]),
        ({"name": "kube-bench-worker-1", "labels": {"app": "kube-bench"}}, None),
        ({"labels": None, "annotations": "text"}, None),
    ],
)
def test_the_node_comes_from_the_config_map(metadata: dict[str, Any], nodes: list[str] | None) -> None:
    """The output does not name it, and the name of the ConfigMap would be a guess."""
    [finding] = found(a_benchmark(a_test()), metadata=metadata)

    assert finding.details.get("nodes") == nodes


@pytest.mark.parametrize(
    ("changes", "versions"),
    [
        ({}, ["cis-1.12 (Kubernetes 1.35)"]),
        ({"detected_version": None}, ["cis-1.12"]),
        ({"detected_version": "none"}, ["cis-1.12"]),
        ({"version": None}, None),
    ],
)
def test_the_version_is_that_of_the_benchmark(changes: dict[str, Any], versions: list[str] | None) -> None:
    """Old outputs do not have the version of Kubernetes."""
    [finding] = found([a_control(a_test(), **changes)])

    assert finding.details.get("versions") == versions


@pytest.mark.parametrize(
    "actual",
    [
        "-----BEGIN RSA PRIVATE KEY-----",
        "users: [{user: {client-key-data: c2VjcmV0}}]",
        "user:\n  token: eyJhbGciOi",
        '{"password": "hunter2"}',
        "kubelet --bootstrap-kubeconfig=x --token=abcdef.0123",
    ],
)
def test_a_value_with_a_credential_is_left_out(actual: str) -> None:
    """Some tests print whole files, such as the kubeconfig of a kubelet."""
    assert "actualValue" not in finding_with(actual_value=actual).details


@pytest.mark.parametrize(
    "actual", ["--service-account-key-file=/etc/sa.pub", "--token-auth-file=/etc/tokens", "authentication-token-webhook=true"]
)
def test_other_values_are_kept(actual: str) -> None:
    """The name of a file is no secret."""
    assert finding_with(actual_value=actual).details["actualValue"] == actual


def test_missing_fields_are_absent() -> None:
    """Details have no empty texts."""
    [finding] = found({"tests": [{"results": [{"test_number": "4.1.1", "status": "FAIL"}]}]})

    assert (finding.title, finding.remediation, finding.details) == ("4.1.1", "", {"testNumber": "4.1.1", "scored": True})


@pytest.mark.parametrize("document", [{"Controls": []}, {"Controls": None}, [], [a_control(tests=[])], {"tests": None}])
def test_an_output_without_tests_has_no_findings(document: Any) -> None:
    """Go writes null for an empty list."""
    assert found(document) == []


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ({"Totals": {}}, r"results\.json holds neither"),
        (7, r"results\.json holds neither"),
        ([7], r"results\.json\[0\]"),
        ([[a_control(a_test())]], r"results\.json\[0\]"),
        ({"Controls": 7}, r"results\.json: Controls is not a list"),
        (a_benchmark("text"), r"results\.json: Controls\[0\]\.tests\[0\]\.results\[0\] is not"),
        (a_benchmark(a_test(), a_test(test_number=None)), r"Controls\[0\]\.tests\[0\]\.results\[1\]\.test_number"),
        (a_benchmark(a_test(test_number=4.1)), r"results\[0\]\.test_number"),
        (a_benchmark(a_test(status=None)), r"results\[0\]\.status"),
        ([a_control(a_test()), a_control(tests="text")], r"results\.json\[1\]\.tests is not a list"),
    ],
)
def test_an_invalid_output_is_bad_input_and_the_error_states_where(document: Any, where: str) -> None:
    """Half an output would resolve the findings of the other half."""
    with pytest.raises(BadInput, match=where):
        found(document)


def test_one_unreadable_key_costs_only_itself() -> None:
    """Its error stands in place of its findings."""
    finding, error = parse(a_config_map({"better.json": a_benchmark(a_test()), "worse.json": "Killed"}))

    assert (isinstance(finding, Finding), str(error)) == (True, "worse.json holds no JSON document of this tool, at byte 0")


def test_only_config_maps_with_its_label_are_read() -> None:
    """A cluster has thousands of other ConfigMaps."""
    [resource] = KUBE_BENCH.reads

    assert (resource.full_name, resource.label_selector) == ("configmaps", "app=kube-bench")


def test_a_test_that_is_not_understood_costs_only_itself() -> None:
    """Neither the other tests of its group nor the other controls."""
    entries = list(parse(a_config_map({"results.json": [a_control(a_test(status=""), a_test()), 7, a_control(a_test())]})))

    assert [str(entry) for entry in entries if isinstance(entry, BadInput)] == [
        "results.json[0].tests[0].results[0].status is missing",
        "results.json[1] is not an object",
    ]
    assert sum(isinstance(entry, Finding) for entry in entries) == 2
