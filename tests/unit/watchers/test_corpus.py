"""Real output of the four tools that zenwatch reads, from the folder $ZENWATCH_CORPUS. The tests count its findings independently."""

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.corpus import config_maps_of, objects_of
from tests.support.parsed import whole
from tests.support.stored_fields import events_of, faults_of
from watchers.checkov import CHECKOV
from watchers.kube_bench import KUBE_BENCH
from watchers.kyverno import KYVERNO
from watchers.trivy import TRIVY
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding
from zenwatch.sdk.embedded_json import documents_of
from zenwatch.sdk.redact import MARK
from zenwatch.sdk.watcher import Watcher

# The findings that a person counted in some files. C, H, M, L, I: the severities.
TRIVY_COUNTS = {
    "clusterrbacassessmentreport_cluster_dump.yaml": "CCHHM",
    "clustervulnerabilityreport_kbom.yaml": "HHHH" + 9 * "M" + "LL",
    "configauditreport_docs.yaml": "CL",
    "configauditreport_replicaset_many.json": "MM" + 11 * "L",
    "configauditreport_with_remediation.json": "LL",
    "envtest_daemonset-configauditreport-expected.yaml": "HMMM" + 9 * "L",
    "envtest_role-rbacassessment-expected.yaml": "M",
    "exposedsecretreport_many.json": "CC",
    "infraassessmentreport_apiserver.yaml": "M" + 10 * "L",
    "rbacassessmentreport_cluster_dump.yaml": "",
}
KYVERNO_KEYS = {
    "cli_clusterpolicyreport_v1alpha1_results_resources.yaml": ["default/Pod/nginx2/require-pod-requests-limits/validate-resources"],
    "cli_openreports_clusterreport_vpol.yaml": ["default/Deployment/bad-deployment/check-deployment-replicas/"],
    "clusterpolicyreport_namespace_exception_skip.yaml": [],
    "e2e_clusterpolicyreport_two_rules.yaml": ["/Namespace/good-ns-1/check-ns-labels/require-ns-env-label"],
    "e2e_four_sources_one_resource.yaml": ["/Deployment/test-deployment-vpol-background/report-background-sample/report-background-sample"],
    "e2e_result_error_no_message.yaml": [],
    "foreign_falco_policyreport.yaml": [],
    "foreign_trivy_adapter_policyreport.yaml": [],
    "openreports_report_docs.yaml": ["default/Pod/example-deployment-c94dc9f47-dfq6l/default/require-app-label/check-app-label"],
    "policyreport_1_11_release.yaml": [],
    "policyreport_per_policy_1_9_no_scope.yaml": ["default/Pod/busybox/require-kubecost-labels/require-labels"],
    "policyreport_scope_pod_docs.yaml": ["kube-system/Pod/kube-apiserver-kind-control-plane/disallow-host-namespaces/host-namespaces"],
    "policyreport_skip_exception.yaml": [],
    "reports_server_multi_doc.yaml": [],
}
KUBE_BENCH_COUNTS = {
    "configmap_bad_log_line_before_json.json": "HHHM",
    "configmap_per_node_worker-1.json": "HHHM",
    "configmap_per_node_worker-2.json": "HHHM",
    "configmap_results_json.json": "HH",
    "kube-bench_cis112_k8s135_node_policies.json": "HH",
    "kube-bench_cis16_all_nodes.json": 36 * "H",
    "kube-bench_list_form_cis15_node.json": "HHHM",
    "kube-bench_list_form_no_fail.json": "",
    "kube-bench_live_2023_fef5ae4.json": 12 * "H",
    "kube-bench_upstream_no_totals.json": "",
    "kube-bench_upstream_result.json": "",
}
CHECKOV_COUNTS = {
    "checkov_1_0_467_terraform.json": "MMM",
    "checkov_2_2_with_severity.json": "HMML",
    "checkov_dockerfile_full.json": 7 * "M",
    "checkov_k8s_dir_compact_quiet.json": 6 * "H" + 66 * "M",
    "checkov_multi_list_compact_quiet.json": 3 * "H" + 53 * "M",
    "checkov_no_findings_dict_without_results.json": "",
    "checkov_softfail_two_checks.json": "HHH",
    "checkov_terraform_custom_severity.json": "HMM",
    "configmap_bad_cli_text_before_json.json": "MM",
    "configmap_gzip_binarydata.json": 6 * "H" + 66 * "M",
    "configmap_results_json.json": 6 * "H" + 66 * "M",
    "configmap_results_json_file_name_of_output_file_path.json": 3 * "H" + 53 * "M",
}
COUNTS: Mapping[str, Mapping[str, str]] = {"trivy": TRIVY_COUNTS, "kube-bench": KUBE_BENCH_COUNTS, "checkov": CHECKOV_COUNTS}
TRIVYS = {resource.kind for resource in TRIVY.reads}
KYVERNOS = {resource.kind for resource in KYVERNO.reads}
FOREIGN_SOURCES = ("trivy", "falco", "kube-bench")


def found(watcher: Watcher, report: Mapping[str, Any], name: str) -> list[Finding]:
    """The findings, after the checks that hold for every report of every tool."""
    findings = whole(watcher.parse(report))
    assert faults_of(findings) == []
    # Real reports hold no credentials: nothing is taken for one.
    assert MARK not in repr(events_of(findings))
    known = COUNTS.get(watcher.name, {}).get(name)
    if known is not None:
        assert Counter(finding.severity[0] for finding in findings) == Counter(known)
    return findings


def texts_of(config_map: Mapping[str, Any]) -> str:
    packed = (gzip.decompress(base64.b64decode(value)).decode() for value in config_map.get("binaryData", {}).values())
    return "\n".join([*config_map.get("data", {}).values(), *packed])


@pytest.mark.parametrize(("name", "report"), objects_of("trivy"))
def test_every_finding_in_reports_of_trivy_is_found(name: str, report: dict[str, Any]) -> None:
    """Every vulnerability, secret and failed check is a finding, and its key begins with the scanned resource."""
    if report["kind"] not in TRIVYS:
        with pytest.raises(BadInput, match=report["kind"]):
            list(TRIVY.parse(report))
        return
    body = report["report"]
    entries = [*(body.get("vulnerabilities") or ()), *(body.get("secrets") or ())]
    entries += [check for check in body.get("checks") or () if check["success"] is False]

    findings = found(TRIVY, report, name)

    assert len(findings) == len(entries)
    for finding, entry in zip(findings, entries, strict=True):
        entry_id = entry.get("vulnerabilityID") or entry.get("ruleID") or entry["checkID"]
        assert re.fullmatch(rf"[^/]*/{finding.resource.kind}/[^/]+/{re.escape(entry_id)}", finding.key)
        assert finding.severity == {"UNKNOWN": "INFO"}.get(entry["severity"], entry["severity"])
        assert "match" not in entry or entry["match"] not in repr(finding)


@pytest.mark.parametrize(("name", "report"), objects_of("kyverno"))
def test_every_failure_in_reports_of_kyverno_is_found(name: str, report: dict[str, Any]) -> None:
    """Every failed result of Kyverno is a finding. Results of other programs are not."""
    failed = [result for result in report["results"] if "fail" in (result.get("result"), result.get("status"))]
    foreign = {result["policy"] for result in report["results"] if result.get("source", "").lower().startswith(FOREIGN_SOURCES)}

    findings = found(KYVERNO, report, name)

    assert report["kind"] in KYVERNOS
    assert len(findings) <= sum(max(len(result.get("resources", ())), 1) for result in failed)
    assert {str(finding.details["policy"]) for finding in findings} <= {result["policy"] for result in failed} - foreign


@pytest.mark.parametrize("file", KYVERNO_KEYS)
def test_known_reports_of_kyverno_have_the_counted_findings(file: str) -> None:
    """The count is for all objects of a file together."""
    reports = [parameter.values[1] for parameter in objects_of("kyverno") if parameter.values[0] == file]
    if not reports:
        pytest.skip(f"no corpus: set ZENWATCH_CORPUS to a folder that holds kyverno/{file}")

    assert [finding.key for report in reports for finding in whole(KYVERNO.parse(report))] == KYVERNO_KEYS[file]


@pytest.mark.parametrize(("name", "config_map"), config_maps_of("kube-bench"))
def test_every_failure_in_outputs_of_kube_bench_is_found(name: str, config_map: dict[str, Any]) -> None:
    """Every FAIL is a finding, in every form of output, also after a log line."""
    text = texts_of(config_map)

    findings = found(KUBE_BENCH, config_map, name)

    assert len(findings) == len(re.findall(r'"status": ?"FAIL"', text))
    assert {finding.key for finding in findings} <= set(re.findall(r'"test_number": ?"([^"]+)"', text))
    node = config_map["metadata"].get("labels", {}).get("kube-bench/node")
    assert all(finding.details.get("nodes") == ([node] if node else None) for finding in findings)
    assert all(finding.remediation and finding.details["versions"] for finding in findings)


@pytest.mark.parametrize(("name", "config_map"), config_maps_of("checkov"))
def test_every_failure_in_outputs_of_checkov_is_found(name: str, config_map: dict[str, Any]) -> None:
    """Every failed check is a finding, in every form of output, also after other text."""
    text = texts_of(config_map)
    # In the only text that is not JSON as a whole, the JSON begins at the first such bracket.
    documents = json.loads(text.rpartition("--- OUTPUT DELIMITER ---")[2])
    outputs = documents if isinstance(documents, list) else [documents]
    failed = [check for output in outputs for check in output.get("results", {}).get("failed_checks", ())]

    findings = found(CHECKOV, config_map, name)

    assert [finding.key for finding in findings] == [f"{check['check_id']}/{check['resource']}" for check in failed]
    assert all(finding.resource.kind and finding.details["locations"] for finding in findings)
    assert [finding.details.get("severityInferred", False) for finding in findings] == [not check.get("severity") for check in failed]
    for finding, check in zip(findings, failed, strict=True):
        code = "".join(line for _, line in check["code_block"] or ())
        assert not code or code not in repr(finding)


def test_the_same_failure_on_two_nodes_is_a_single_record_that_names_both() -> None:
    """docs/records.md, "Keys": a test number has a single record for the whole cluster."""
    nodes = [parameter.values for parameter in config_maps_of("kube-bench") if "per_node_worker" in parameter.values[0]]
    if len(nodes) != 2:
        pytest.skip("no corpus: set ZENWATCH_CORPUS to a folder that holds kube-bench/configmap_per_node_worker-1.json and -2.json")

    events = events_of([finding for _, config_map in nodes for finding in whole(KUBE_BENCH.parse(config_map))])

    assert len(events) == 4
    assert all(event.details["nodes"] == ["worker-1", "worker-2"] for event in events)


@pytest.mark.parametrize(("name", "config_map"), [*config_maps_of("kube-bench"), *config_maps_of("checkov")])
def test_each_output_is_claimed_by_its_own_tool(name: str, config_map: dict[str, Any]) -> None:
    """`zenwatch preview` recognises an output only by its text."""
    owner, other = (KUBE_BENCH, CHECKOV) if '"test_number"' in texts_of(config_map) else (CHECKOV, KUBE_BENCH)

    documents = [document.value for document in whole(documents_of(config_map, claims=owner.claims))]

    assert [owner.claims(document) for document in documents] == [True]
    assert [other.claims(document) for document in documents] == [False]
