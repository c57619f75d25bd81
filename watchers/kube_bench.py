"""kube-bench: the tests of the CIS benchmark that a cluster fails (https://github.com/aquasecurity/kube-bench).

The watcher reads kube-bench's JSON output from ConfigMaps with the label app=kube-bench, one for each node.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zenwatch.sdk import ApiResource, BadInput, Category, Finding, FindingType, Severity, Watcher, documents_of, fields
from zenwatch.sdk.fields import entries_of, mapping_of, mapping_or_none, text_of

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


def parse(config_map: Mapping[str, Any]) -> Iterator[Finding]:
    """Yields a finding for each failed test. WARN is no failure: kube-bench could not run the test."""
    metadata = mapping_of(config_map, "metadata")
    node = _node_of(metadata)
    for document in documents_of(config_map, claims=claims):
        for where, control in _controls_of(document.value, document.key):
            yield from _failures(control, where, node)


def _controls_of(value: Any, where: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each control, with the name that an error has for it."""
    if isinstance(value, list):
        for index, part in enumerate(value):
            if not isinstance(part, Mapping):
                raise BadInput(f"{where}[{index}] is not an object")
            yield from _controls_of(part, f"{where}[{index}]")
    elif isinstance(value, Mapping) and "Controls" in value:
        for index, control in enumerate(entries_of(value, "Controls", f"{where}: Controls")):
            yield f"{where}: Controls[{index}]", control
    elif isinstance(value, Mapping) and "tests" in value:
        yield where, value
    else:
        raise BadInput(f"{where} holds neither Controls nor tests")


def _failures(control: Mapping[str, Any], where: str, node: str) -> Iterator[Finding]:
    for group_index, group in enumerate(entries_of(control, "tests", f"{where}.tests")):
        results = f"{where}.tests[{group_index}].results"
        for index, result in enumerate(entries_of(group, "results", results)):
            status = text_of(result, "status")
            if not status:
                raise BadInput(f"{results}[{index}].status is missing")
            if status.upper() != "FAIL":
                continue
            if not text_of(result, "test_number"):
                raise BadInput(f"{results}[{index}].test_number is missing")
            yield _failure(result, text_of(group, "section"), _version_of(control), node)


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
    claims=claims,
)
