"""Trivy Operator: vulnerabilities, secrets and failed checks (https://aquasecurity.github.io/trivy-operator/latest/docs/crds/).

The watcher reads the reports of aquasecurity.github.io/v1alpha1, also those that Starboard, the operator's predecessor, wrote.
It does not read the ClusterComplianceReport, which only counts the findings of the other reports.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from zenwatch.sdk import ApiResource, BadInput, Category, Finding, FindingType, Resource, Severity, Watcher, fields
from zenwatch.sdk.fields import key_of, mapping_of, mapping_or_none, read_entries, text_of, texts_of

VULNERABILITY = FindingType("trivy", "trivy-vuln-", "vulnerability-report", Category.SECURITY)
EXPOSED_SECRET = FindingType("trivy", "trivy-secret-", "exposed-secret-report", Category.SECURITY)
CONFIG_AUDIT = FindingType("trivy", "trivy-config-", "config-audit-report", Category.SECURITY)
RBAC_ASSESSMENT = FindingType("trivy", "trivy-rbac-", "rbac-assessment-report", Category.SECURITY)
INFRA_ASSESSMENT = FindingType("trivy", "trivy-infra-", "infra-assessment-report", Category.COMPLIANCE)

# Prefixes of labels: the operator's, and two of Starboard's.
_PREFIXES = ("trivy-operator", "starboard", "imgvuln")
# Starboard's old words for severities, and the words that replaced them (docs/severity.md, "Trivy").
_STARBOARD_SEVERITIES = {"DANGER": Severity.CRITICAL, "WARNING": Severity.LOW}


def parse(report: Mapping[str, Any]) -> Iterator[Finding | BadInput]:
    """Yields a finding for each vulnerability, secret and failed check. Several may have the same key: zenwatch merges them later."""
    kind = text_of(report, "kind")
    if kind not in _READERS:
        raise BadInput(f"the kind is {kind or 'missing'}: no report of Trivy Operator that is read")
    body = mapping_of(report, "report")
    return _READERS[kind](report, body, _resource_of(report), fields.time_of(body.get("updateTimestamp")))


_Reader = Callable[[Mapping[str, Any], Mapping[str, Any], Resource, datetime | None], Iterator[Finding | BadInput]]


# ---------------------------------------------------------------- vulnerabilities


def _vulnerabilities(
    report: Mapping[str, Any], body: Mapping[str, Any], resource: Resource, detected_at: datetime | None
) -> Iterator[Finding | BadInput]:
    image = _image_of(body) | {"container": _labelled(report, "container.name")}

    def read(entry: Mapping[str, Any], where: str) -> Iterator[Finding]:
        if not text_of(entry, "vulnerabilityID"):
            raise BadInput(f"{where}.vulnerabilityID is missing")
        yield _vulnerability(entry, resource, image, detected_at)

    return read_entries(body, "vulnerabilities", "report.vulnerabilities", read)


def _vulnerability(entry: Mapping[str, Any], resource: Resource, image: dict[str, str], detected_at: datetime | None) -> Finding:
    vuln_id, package, version = (text_of(entry, field) for field in ("vulnerabilityID", "resource", "installedVersion"))
    fixed_version = text_of(entry, "fixedVersion")
    installed = f"{package} {version}".strip()
    score = entry.get("score")
    scored = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 10
    details: dict[str, Any] = {
        "vulnID": vuln_id,
        "package": package,
        "version": version,
        "fixedVersion": fixed_version,
        **({"cvss": score} if scored else {}),
        **image,
        "packages": [installed] if installed else [],
    }
    return Finding(
        type=VULNERABILITY,
        key=key_of(resource, vuln_id),
        severity=_severity_of(entry),
        title=f"{vuln_id} in {installed}" if installed else vuln_id,
        resource=resource,
        details=fields.filled(details),
        remediation=f"Upgrade {package or vuln_id} to {fixed_version.replace(', ', ' or ')}" if fixed_version else "",
        references=fields.links_of([entry.get("primaryLink"), *texts_of(entry, "links")]),
        tool_score=float(score) if scored and score is not None else None,
        has_fix=bool(fixed_version),
        detected_at=detected_at,
    )


# ---------------------------------------------------------------- secrets


def _secrets(
    _report: Mapping[str, Any], body: Mapping[str, Any], resource: Resource, detected_at: datetime | None
) -> Iterator[Finding | BadInput]:
    def read(entry: Mapping[str, Any], where: str) -> Iterator[Finding]:
        rule_id, target = text_of(entry, "ruleID"), text_of(entry, "target")
        if not rule_id:
            raise BadInput(f"{where}.ruleID is missing")
        title = text_of(entry, "title") or rule_id
        yield Finding(
            type=EXPOSED_SECRET,
            key=key_of(resource, rule_id),
            severity=_severity_of(entry),
            title=f"{title} in {target}" if target else title,
            resource=resource,
            # Never `match`: it is the line with the secret, and Trivy cannot mask every secret.
            details=fields.filled({"ruleID": rule_id, "target": target, "targets": [target] if target else []}),
            detected_at=detected_at,
        )

    return read_entries(body, "secrets", "report.secrets", read)


# ---------------------------------------------------------------- checks


def _checks(
    type_: FindingType, _report: Mapping[str, Any], body: Mapping[str, Any], resource: Resource, detected_at: datetime | None
) -> Iterator[Finding | BadInput]:
    def read(entry: Mapping[str, Any], where: str) -> Iterator[Finding]:
        if not isinstance(entry.get("success"), bool):
            raise BadInput(f"{where}.success is missing")
        if entry["success"]:
            return
        check_id = text_of(entry, "checkID")
        if not check_id:
            raise BadInput(f"{where}.checkID is missing")
        messages = texts_of(entry, "messages") or [message for message in [text_of(entry, "message")] if message]
        remediation = text_of(entry, "remediation")
        yield Finding(
            type=type_,
            key=key_of(resource, check_id),
            severity=_severity_of(entry),
            title=text_of(entry, "title") or check_id,
            resource=resource,
            details=fields.filled({"checkID": check_id, "message": messages[0] if messages else "", "messages": messages}),
            remediation=remediation,
            has_fix=bool(remediation),
            detected_at=detected_at,
        )

    for holder, field, where in _check_lists(body):
        yield from read_entries(holder, field, where, read)


def _check_lists(body: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Each list of checks: what holds it, its field, and the name that an error has for it.

    Starboard had lists for the pod and for each container. For a time it had `checks` beside them, with the same checks.
    """
    yield body, "checks", "report.checks"
    if not body.get("checks"):
        yield body, "podChecks", "report.podChecks"
        containers = mapping_or_none(body, "containerChecks")
        yield from ((containers, name, f"report.containerChecks.{name}") for name in containers)


# ---------------------------------------------------------------- for all reports


def _severity_of(entry: Mapping[str, Any]) -> Severity:
    # UNKNOWN and unknown words are INFO (docs/severity.md, "Trivy").
    word = text_of(entry, "severity")
    return _STARBOARD_SEVERITIES.get(word.upper()) or fields.severity_of(word, Severity.INFO)


def _resource_of(report: Mapping[str, Any]) -> Resource:
    """The scanned resource. A name that is too long for a label is in an annotation. Older reports have only the owner."""
    metadata = mapping_of(report, "metadata")
    owner = fields.owner_of(metadata)
    kind = _labelled(report, "resource.kind") or text_of(owner, "kind")
    name = _labelled(report, "resource.name") or text_of(owner, "name")
    if not kind or not name:
        raise BadInput("the labels trivy-operator.resource.kind and .name are missing, and there is no ownerReference")
    is_owner = (kind, name) == (text_of(owner, "kind"), text_of(owner, "name"))
    # A report about a node has the operator's namespace.
    namespace = "" if kind in fields.CLUSTER_SCOPED else text_of(metadata, "namespace")
    return Resource(
        api_version=(text_of(owner, "apiVersion") if is_owner else "") or fields.API_VERSIONS.get(kind, ""),
        kind=kind,
        name=name,
        namespace=_labelled(report, "resource.namespace") or namespace,
    )


def _labelled(report: Mapping[str, Any], suffix: str) -> str:
    metadata = mapping_of(report, "metadata")
    for field in ("labels", "annotations"):
        values = mapping_or_none(metadata, field)
        for prefix in _PREFIXES:
            if value := text_of(values, f"{prefix}.{suffix}"):
                return value
    return ""


def _image_of(body: Mapping[str, Any]) -> dict[str, str]:
    registry, artifact = body.get("registry") or {}, body.get("artifact") or {}
    if not isinstance(registry, Mapping) or not isinstance(artifact, Mapping):
        raise BadInput("report.registry or report.artifact is not an object")
    path = "/".join(part for part in (text_of(registry, "server"), text_of(artifact, "repository")) if part)
    tag = text_of(artifact, "tag")
    return {"image": f"{path}:{tag}" if path and tag else path, "imageDigest": text_of(artifact, "digest")}


_READERS: Mapping[str, _Reader] = {
    "VulnerabilityReport": _vulnerabilities,
    "ClusterVulnerabilityReport": _vulnerabilities,
    "ExposedSecretReport": _secrets,
    "ConfigAuditReport": partial(_checks, CONFIG_AUDIT),
    "RbacAssessmentReport": partial(_checks, RBAC_ASSESSMENT),
    "ClusterRbacAssessmentReport": partial(_checks, RBAC_ASSESSMENT),
    "InfraAssessmentReport": partial(_checks, INFRA_ASSESSMENT),
    "ClusterInfraAssessmentReport": partial(_checks, INFRA_ASSESSMENT),
}

TRIVY = Watcher(
    name="trivy",
    reads=tuple(
        ApiResource("aquasecurity.github.io", "v1alpha1", f"{kind.lower()}s", kind, namespaced=not kind.startswith("Cluster"))
        for kind in _READERS
    ),
    parse=parse,
    namespace="trivy-system",
    pod_labels="app.kubernetes.io/name=trivy-operator",
    min_severity=Severity.HIGH,
    # Each flag of Trivy is a variable, too; this one resembles TRIVY_MIN_SEVERITY.
    tool_variables=("TRIVY_SEVERITY",),
    subject=_resource_of,
    regroup=fields.reassigned_to,
)
