"""Checkov: problems in manifests, charts and other code, found before anybody applies it (https://www.checkov.io).

The watcher reads Checkov's JSON output from ConfigMaps with the label app=checkov.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from zenwatch.sdk import ApiResource, BadInput, Category, Finding, FindingType, Resource, Severity, Watcher, documents_of, fields
from zenwatch.sdk.fields import mapping_of, read_entries, text_of, tolerating

FAILED_CHECK = FindingType("checkov", "checkov-", "static-analysis", Category.SECURITY)

# Without a platform key Checkov gives no severity. docs/severity.md, "Checkov" has the sources of these.
_INFERRED = {"CKV_K8S_16": Severity.HIGH, "CKV_K8S_20": Severity.HIGH, "CKV_K8S_23": Severity.HIGH}
# Words of Checkov's platform that the scale does not have.
_SEVERITIES = {"MODERATE": Severity.MEDIUM, "IMPORTANT": Severity.HIGH, "NONE": Severity.INFO}

_OF_KUBERNETES = {"kubernetes", "helm", "kustomize"}
# Kind.namespace.name; the name may hold dots. Kustomize puts the layer before it.
_KUBERNETES = re.compile(
    r"(?:base:|overlay:[^:]*:)?(?P<kind>[A-Z][A-Za-z0-9]*)\.(?P<namespace>[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\.(?P<name>.+)"
)
_OF_TYPES = {"terraform", "terraform_json", "terraform_plan", "cloudformation", "serverless"}
# aws_s3_bucket.logs, module.storage["eu.1"].aws_s3_bucket.logs[0], AWS::S3::Bucket.Logs
_TYPED = re.compile(r"(?:module\.[^.\[]+(?:\[[^\]]*\])?\.)*(?:data\.)?(?P<kind>[A-Za-z][\w:]*)\.(?P<name>.+)")
_MOST_LINES = 2**31


def claims(document: Any) -> bool:
    """Whether it is the report of a framework, the short report of a run that had nothing to scan, or a list of reports."""
    if isinstance(document, list):
        return bool(document) and all(isinstance(part, Mapping) and claims(part) for part in document)
    return isinstance(document, Mapping) and (
        ("results" in document and "check_type" in document) or ("failed" in document and "checkov_version" in document)
    )


def parse(config_map: Mapping[str, Any]) -> Iterator[Finding | BadInput]:
    """Yields a finding for each failed check."""
    mapping_of(config_map, "metadata")
    for document in documents_of(config_map, claims=claims):
        if isinstance(document, BadInput):
            yield document
            continue
        reports = document.value if isinstance(document.value, list) else [document.value]
        for index, report in enumerate(reports):
            where = f"{document.key}[{index}]" if isinstance(document.value, list) else document.key
            yield from tolerating(_failures(report, where))


def _failures(report: Any, where: str) -> Iterator[Finding | BadInput]:
    if not isinstance(report, Mapping):
        raise BadInput(f"{where} is not an object")
    if "runs" in report and "results" not in report:
        raise BadInput(f"{where} is SARIF; zenwatch reads what checkov -o json prints")
    if "results" not in report and report.get("failed") == 0:
        # Checkov had nothing to scan: {"passed": 0, "failed": 0, ...}.
        return
    results = report.get("results")
    if not isinstance(results, Mapping) or results.get("failed_checks") is None:
        raise BadInput(f"{where}: results.failed_checks is missing")
    framework = text_of(report, "check_type")

    def read(check: Mapping[str, Any], where: str) -> Iterator[Finding]:
        if not text_of(check, "check_id"):
            raise BadInput(f"{where}.check_id is missing")
        yield _failure(check, framework)

    yield from read_entries(results, "failed_checks", f"{where}: results.failed_checks", read)


def _failure(check: Mapping[str, Any], framework: str) -> Finding:
    # Only these fields: code_block, entity_tags, evaluations and others hold code, and code may hold a secret.
    check_id, check_name, file = (text_of(check, field) for field in ("check_id", "check_name", "file_path"))
    resource, guideline = text_of(check, "resource"), text_of(check, "guideline")
    lines = _lines_of(check)
    location = f"{file}:{lines}" if file and lines else file
    severity, is_inferred = _severity_of(check, check_id)
    details: dict[str, Any] = {
        "checkId": check_id,
        "checkName": check_name,
        "file": file,
        "lines": lines,
        "framework": framework,
        "guideline": guideline,
        **({"severityInferred": True} if is_inferred else {}),
        "locations": [location] if location else [],
    }
    return Finding(
        type=FAILED_CHECK,
        key=f"{check_id}/{resource}",
        severity=severity,
        title=f"{check_id}: {check_name}" if check_name else check_id,
        resource=_resource_of(resource, framework, file),
        details=fields.filled(details),
        references=fields.links_of([guideline]),
    )


def _severity_of(check: Mapping[str, Any], check_id: str) -> tuple[Severity, bool]:
    """The severity, and whether zenwatch inferred it."""
    word = text_of(check, "severity").upper()
    given = Severity(word) if word in Severity.__members__ else _SEVERITIES.get(word)
    return (given, False) if given else (_INFERRED.get(check_id, Severity.MEDIUM), True)


def _lines_of(check: Mapping[str, Any]) -> str:
    """ "5-13", or "4" for a single line. Empty if the range is missing or impossible."""
    raw = check.get("file_line_range")
    numbers = [line for line in raw if isinstance(line, int) and not isinstance(line, bool)] if isinstance(raw, list) else []
    if len(numbers) != 2 or not all(0 <= line < _MOST_LINES for line in numbers):
        return ""
    first, last = numbers
    return str(first) if first == last else f"{first}-{last}"


def _resource_of(resource: str, framework: str, file: str) -> Resource:
    """The resource according to the text that Checkov prints for it. If the text has no known form: the file."""
    if (not framework or framework in _OF_KUBERNETES) and (parts := _KUBERNETES.fullmatch(resource)):
        kind, namespace = parts["kind"], parts["namespace"]
        # Checkov writes `default` if a manifest names no namespace, also for cluster-scoped kinds.
        namespace = "" if kind in fields.CLUSTER_SCOPED else namespace
        return Resource(fields.API_VERSIONS.get(kind, ""), kind, parts["name"], namespace)
    if (not framework or framework in _OF_TYPES) and (parts := _TYPED.fullmatch(resource)):
        return Resource(kind=parts["kind"], name=parts["name"])
    return Resource(kind="File", name=file) if file else Resource()


CHECKOV = Watcher(
    name="checkov",
    reads=(ApiResource("", "v1", "configmaps", "ConfigMap", label_selector="app=checkov"),),
    parse=parse,
    namespace="checkov",
    pod_labels="app=checkov",
    remedy="Run checkov with -o json, and put what it prints into a key of the ConfigMap that ends in .json.",
    claims=claims,
)
