"""kube-bench: the tests of the CIS benchmark that a cluster fails (https://github.com/aquasecurity/kube-bench).

The watcher reads kube-bench's JSON output from ConfigMaps with the label app=kube-bench, one for each node.
"""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from zenwatch.sdk import ApiResource, BadInput, Category, Finding, FindingType, Severity, Watcher, documents_of, fields
from zenwatch.sdk.fields import mapping_of, mapping_or_none, read_entries, text_of, tolerating

FAILED_TEST = FindingType("kube-bench", "kube-bench-", "cis-benchmark-fail", Category.COMPLIANCE)

# The output does not name its node. The author of the ConfigMap can, with one of these labels or annotations.
_NODE_NAMES = ("kube-bench/node", "kubernetes.io/hostname")
# The actual value is the output of a command, which may print a kubeconfig with its key.
_CREDENTIAL = re.compile(r"PRIVATE KEY|client-key-data|(?<![a-z])(?:token|password|secret)[\"']?\s*[:=]\s*\S", re.IGNORECASE)


def claims(document: Any) -> bool:
    """Whether it is {"Controls": [...]}, a control, or a list of them. Every version of kube-bench prints one of these forms."""
    if isinstance(document, list):
        return bool(document) and all(isinstance(part, Mapping) and claims(part) for part in document)
    return isinstance(document, Mapping) and ("Controls" in document or ("tests" in document and "node_type" in document))


def parse(config_map: Mapping[str, Any]) -> Iterator[Finding | BadInput]:
    """Yields a finding for each failed test. WARN is no failure: kube-bench could not run the test."""
    metadata = mapping_of(config_map, "metadata")
    node = _node_of(metadata)
    for document in documents_of(config_map, claims=claims):
        yield from [document] if isinstance(document, BadInput) else tolerating(_failures(document.value, document.key, node))


def _failures(value: Any, where: str, node: str) -> Iterator[Finding | BadInput]:
    """Of each control in the document."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            at = f"{where}[{index}]"
            yield from tolerating(_failures(part, at, node)) if isinstance(part, Mapping) else [BadInput(f"{at} is not an object")]
    elif isinstance(value, Mapping) and "Controls" in value:
        yield from read_entries(value, "Controls", f"{where}: Controls", partial(_failures_of_control, node))
    elif isinstance(value, Mapping) and "tests" in value:
        yield from _failures_of_control(node, value, where)
    else:
        raise BadInput(f"{where} holds neither Controls nor tests")


def _failures_of_control(node: str, control: Mapping[str, Any], where: str) -> Iterator[Finding | BadInput]:
    version = _version_of(control)

    def read_group(group: Mapping[str, Any], where: str) -> Iterator[Finding | BadInput]:
        return read_entries(group, "results", f"{where}.results", partial(read_result, text_of(group, "section")))

    def read_result(section: str, result: Mapping[str, Any], where: str) -> Iterator[Finding]:
        status = text_of(result, "status")
        if not status:
            raise BadInput(f"{where}.status is missing")
        if status.upper() != "FAIL":
            return
        if not text_of(result, "test_number"):
            raise BadInput(f"{where}.test_number is missing")
        yield _failure(result, section, version, node)

    return read_entries(control, "tests", f"{where}.tests", read_group)


def _failure(result: Mapping[str, Any], section: str, version: str, node: str) -> Finding:
    number, description, remediation = (text_of(result, field) for field in ("test_number", "test_desc", "remediation"))
    actual = text_of(result, "actual_value")
    scored = _is_scored(result)
    details: dict[str, Any] = {
        "testNumber": number,
        "description": description,
        "section": section,
        "scored": scored,
        "actualValue": "" if _CREDENTIAL.search(actual) else actual,
        "nodes": [node] if node else [],
        "versions": [version] if version else [],
    }
    return Finding(
        type=FAILED_TEST,
        # The whole cluster has one record for a test, so the finding has no resource. The details list the nodes.
        key=number,
        severity=Severity.HIGH if scored else Severity.MEDIUM,
        title=f"{number} {description}".strip(),
        details=fields.filled(details),
        remediation=remediation,
        has_fix=bool(remediation),
    )


def _is_scored(result: Mapping[str, Any]) -> bool:
    """True if the field is absent: a test that is not scored warns and does not fail."""
    scored = result.get("scored")
    return scored.strip().lower() != "false" if isinstance(scored, str) else scored is not False


def _version_of(control: Mapping[str, Any]) -> str:
    benchmark, kubernetes = text_of(control, "version"), text_of(control, "detected_version")
    return f"{benchmark} (Kubernetes {kubernetes})" if benchmark and kubernetes not in ("", "none") else benchmark


def _node_of(metadata: Mapping[str, Any]) -> str:
    nodes = (text_of(mapping_or_none(metadata, field), name) for name in _NODE_NAMES for field in ("labels", "annotations"))
    return next(filter(None, nodes), "")


KUBE_BENCH = Watcher(
    name="kube-bench",
    reads=(ApiResource("", "v1", "configmaps", "ConfigMap", label_selector="app=kube-bench"),),
    parse=parse,
    namespace="kube-bench",
    pod_labels="app=kube-bench",
    remedy="Run kube-bench with --json, and put what it prints into a key of the ConfigMap that ends in .json.",
    claims=claims,
)
