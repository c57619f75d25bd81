"""Kyverno: the resources that break policies (https://kyverno.io/docs/guides/reports/).

Kyverno writes reports of wgpolicyk8s.io/v1alpha2 and openreports.io/v1alpha1. Other programs write such reports too: the watcher skips
their results.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from zenwatch.sdk import ApiResource, BadInput, Category, Finding, FindingType, Resource, Severity, Watcher, fields
from zenwatch.sdk.fields import entries_of, key_of, mapping_of, mapping_or_none, read_entries, text_of

VIOLATION = FindingType("kyverno", "kyverno-policy-", "policy-violation", Category.SECURITY)

_READS = (
    ApiResource("wgpolicyk8s.io", "v1alpha2", "policyreports", "PolicyReport"),
    ApiResource("wgpolicyk8s.io", "v1alpha2", "clusterpolicyreports", "ClusterPolicyReport", namespaced=False),
    ApiResource("openreports.io", "v1alpha1", "reports", "Report"),
    ApiResource("openreports.io", "v1alpha1", "clusterreports", "ClusterReport", namespaced=False),
)
_KINDS = {resource.kind for resource in _READS}
# Kubernetes' own policies: Kyverno scans for them in the background and reports the results.
_ADMISSION_POLICIES = {"validatingadmissionpolicy", "mutatingadmissionpolicy"}
# Up to 1.10 a report has such a label for each of its policies: one prefix for each kind of policy.
_POLICY_LABELS = ("cpol.kyverno.io/", "pol.kyverno.io/")
# The names of Kyverno's reports up to 1.8. Its command line kept them much longer.
_OLD_NAMES = re.compile(r"clusterpolicyreport|polr-ns-.*")
_POLICY_GROUPS = ("kyverno.io/", "policies.kyverno.io/")
# Kyverno puts the text of the policy between "validation error: " and ". rule <rule> failed at path <path>".
_INTRODUCTION = re.compile(r"validation (?:error|failure): *", re.IGNORECASE)
_WHERE = re.compile(r"[.;]? *(?:validation )?rule \S+ (?:failed|validation failure)|\n|(?<=[.!]) (?<!e\.g\. )(?<!i\.e\. )", re.IGNORECASE)
# Kyverno derives such rules from a rule for Pods. It cuts their names after 63 characters, so the derived rules of a long name stay apart.
_AUTOGEN = re.compile(r"autogen-(?:cronjob-)?(?P<rule>.+)", re.DOTALL)


def parse(report: Mapping[str, Any]) -> Iterator[Finding | BadInput]:
    """Yields a finding for each resource of each failed result."""
    kind = text_of(report, "kind")
    if kind not in _KINDS:
        raise BadInput(f"the kind is {kind or 'missing'}: no report that Kyverno writes")
    metadata = mapping_of(report, "metadata")

    def read(result: Mapping[str, Any], where: str) -> Iterator[Finding]:
        # wgpolicyk8s.io/v1alpha1 has `status` instead of `result`.
        outcome = text_of(result, "result") or text_of(result, "status")
        if outcome != "fail" or not _is_kyvernos(report, metadata, result):
            return
        if not text_of(result, "policy"):
            raise BadInput(f"{where}.policy is missing")
        for resource in _resources_of(report, metadata, result, where):
            yield _violation(result, resource)

    yield from read_entries(report, "results", "results", read)


def _violation(result: Mapping[str, Any], resource: Resource) -> Finding:
    # Policies of the CEL kinds have no rules.
    policy, rule, message = (text_of(result, field) for field in ("policy", "rule", "message"))
    details = {
        "policy": policy,
        "rule": rule,
        "message": message,
        "messages": [message] if message else [],
        "policyCategory": text_of(result, "category"),
    }
    sentence = _first_sentence(message)
    name = f"{policy}/{rule}" if rule else policy
    return Finding(
        type=VIOLATION,
        key=key_of(resource, policy, rule),
        # Absent is not harmless: a policy has a severity only if its author wrote an annotation.
        severity=fields.severity_of(text_of(result, "severity"), Severity.MEDIUM),
        title=f"{name}: {sentence}" if sentence else f"{name} failed",
        resource=resource,
        details=fields.filled(details),
        detected_at=fields.time_of(result.get("timestamp")),
    )


def _first_sentence(message: str) -> str:
    # A message can be very long. 1024 characters are more than a title holds.
    text = _INTRODUCTION.sub("", message[:1024], count=1)
    end = _WHERE.search(text)
    return (text[: end.start()] if end else text).strip(' "')


# ---------------------------------------------------------------- the controller


def regroup(finding: Finding, owner: Resource) -> Finding:
    """The finding with the rule as its author named it, so that a Deployment, its ReplicaSets and its Pods have a single finding."""
    return fields.reassigned_to(_with_written_rule(finding), owner)


def _with_written_rule(finding: Finding) -> Finding:
    policy, rule = (text_of(finding.details, field) for field in ("policy", "rule"))
    made = _AUTOGEN.fullmatch(rule)
    if made is None:
        return finding
    written, name = made["rule"], f"{policy}/{rule}"
    return replace(
        finding,
        key=key_of(finding.resource, policy, written),
        title=f"{policy}/{written}" + finding.title.removeprefix(name),
        details={**finding.details, "rule": written},
    )


# ---------------------------------------------------------------- results of Kyverno


def _is_kyvernos(report: Mapping[str, Any], metadata: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """False for other programs: trivy-operator-polr-adapter, falcosidekick and kube-bench copy findings that zenwatch reads elsewhere."""
    source = (text_of(result, "source") or text_of(report, "source")).lower()
    if source.startswith("kyverno"):
        return True
    return source in {"", *_ADMISSION_POLICIES} and _is_written_by_kyverno(metadata)


def _is_written_by_kyverno(metadata: Mapping[str, Any]) -> bool:
    labels = mapping_or_none(metadata, "labels")
    return (
        text_of(labels, "app.kubernetes.io/managed-by").lower() == "kyverno"
        or any(label.startswith(_POLICY_LABELS) for label in labels)
        or _OLD_NAMES.fullmatch(text_of(metadata, "name")) is not None
    )


# ---------------------------------------------------------------- the resource


def subject(report: Mapping[str, Any]) -> Resource | None:
    """The report's scope. Reports of Kyverno before 1.11 have none, and are about several resources."""
    scope = mapping_or_none(report, "scope")
    return _resource_of(scope, text_of(mapping_of(report, "metadata"), "namespace")) if text_of(scope, "kind") else None


def _resources_of(report: Mapping[str, Any], metadata: Mapping[str, Any], result: Mapping[str, Any], where: str) -> list[Resource]:
    """The report's scope (since 1.11); else the result's own resources (up to 1.10); else the report's owner; else only a namespace."""
    namespace = text_of(metadata, "namespace")
    owner = fields.owner_of(metadata)
    of_result = entries_of(result, "resources", f"{where}.resources")
    about_owner = {} if text_of(owner, "apiVersion").startswith(_POLICY_GROUPS) else owner
    for references in ([mapping_or_none(report, "scope")], of_result, [about_owner]):
        named = [_resource_of(reference, namespace) for reference in references if text_of(reference, "kind")]
        if named:
            return named
    return [Resource(namespace=namespace)]


def _resource_of(reference: Mapping[str, Any], namespace: str) -> Resource:
    """namespace: the report's namespace, which the resource has too if the reference names none."""
    kind = text_of(reference, "kind")
    return Resource(
        api_version=text_of(reference, "apiVersion") or fields.API_VERSIONS.get(kind, ""),
        kind=kind,
        name=text_of(reference, "name"),
        namespace=text_of(reference, "namespace") or ("" if kind in fields.CLUSTER_SCOPED else namespace),
    )


KYVERNO = Watcher(
    name="kyverno",
    reads=_READS,
    parse=parse,
    namespace="kyverno",
    pod_labels="app.kubernetes.io/part-of=kyverno",
    # Kyverno writes a report only when its content changes, so it may be silent for long in a quiet cluster.
    is_steady=False,
    subject=subject,
    regroup=regroup,
)
