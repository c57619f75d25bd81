"""Trivy Operator: what its reports say (https://aquasecurity.github.io/trivy-operator/latest/docs/crds/).

In: VulnerabilityReport objects of aquasecurity.github.io/v1alpha1, and of Starboard, its predecessor.  Out: findings.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from zenwatch.contract import ApiResource, Watcher
from zenwatch.errors import BadInput
from zenwatch.model.finding import Category, Finding, FindingType, Resource, Severity

VULNERABILITY = FindingType("trivy", "trivy-vuln-", "vulnerability-report", Category.SECURITY)

# Label prefixes: today's, and the two that Starboard used.
_PREFIXES = ("trivy-operator", "starboard", "imgvuln")
# Reports name the kind of what they scanned, not its group.
_API_VERSIONS = {
    "Pod": "v1",
    "ReplicationController": "v1",
    "ReplicaSet": "apps/v1",
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}


def parse(report: Mapping[str, Any]) -> Iterator[Finding]:
    """One finding per entry of report.vulnerabilities, byte-identical ones included: those of one key are merged later."""
    body = _mapping(report, "report")
    resource = _resource_of(report)
    about = _image_of(body) | {"container": _labelled(report, "container.name")}
    detected_at = _time_of(body.get("updateTimestamp"))
    for position, entry in enumerate(_list(body, "vulnerabilities", "report")):
        if not isinstance(entry, Mapping) or not _text(entry, "vulnerabilityID"):
            raise BadInput(f"report.vulnerabilities[{position}].vulnerabilityID is missing")
        yield _vulnerability(entry, resource, about, detected_at)


def _vulnerability(entry: Mapping[str, Any], resource: Resource, about: dict[str, str], detected_at: datetime | None) -> Finding:
    vuln_id, package, version = (_text(entry, field) for field in ("vulnerabilityID", "resource", "installedVersion"))
    fixed_version = _text(entry, "fixedVersion")
    installed = f"{package} {version}".strip()
    score = entry.get("score")
    scored = isinstance(score, int | float) and not isinstance(score, bool) and 0 <= score <= 10
    details: dict[str, Any] = {
        "vulnID": vuln_id,
        "package": package,
        "version": version,
        "fixedVersion": fixed_version,
        **({"cvss": score} if scored else {}),
        **about,
        "packages": [installed] if installed else [],
    }
    return Finding(
        type=VULNERABILITY,
        key=f"{resource.namespace}/{resource.kind}/{resource.name}/{vuln_id}",
        severity=_severity_of(entry),
        title=f"{vuln_id} in {installed}" if installed else vuln_id,
        resource=resource,
        details={name: value for name, value in details.items() if value not in ("", [])},
        remediation=f"Upgrade {package or vuln_id} to {fixed_version.replace(', ', ' or ')}" if fixed_version else "",
        references=_references_of(entry),
        tool_score=float(score) if scored and score is not None else None,
        has_fix=bool(fixed_version),
        detected_at=detected_at,
    )


def _severity_of(entry: Mapping[str, Any]) -> Severity:
    # UNKNOWN ranks as INFO, as Policy Reporter's adapter and DefectDojo have it.
    said = _text(entry, "severity").upper()
    return Severity(said) if said in Severity.__members__ else Severity.INFO


def _references_of(entry: Mapping[str, Any]) -> list[str]:
    links = entry.get("links")
    said = [entry.get("primaryLink"), *(links if isinstance(links, list) else ())]
    return [link for link in said if isinstance(link, str)]


def _resource_of(report: Mapping[str, Any]) -> Resource:
    """What was scanned. A name that does not fit a label stands in an annotation; older reports only have the owner."""
    metadata = _mapping(report, "metadata")
    owners = [owner for owner in _list(metadata, "ownerReferences", "metadata") if isinstance(owner, Mapping)]
    owner = next((owner for owner in owners if owner.get("controller")), owners[0] if owners else {})
    kind = _labelled(report, "resource.kind") or _text(owner, "kind")
    name = _labelled(report, "resource.name") or _text(owner, "name")
    if not kind or not name:
        raise BadInput("the labels trivy-operator.resource.kind and .name are missing, and there is no ownerReference")
    is_owner = (kind, name) == (_text(owner, "kind"), _text(owner, "name"))
    return Resource(
        api_version=_text(owner, "apiVersion") if is_owner else _API_VERSIONS.get(kind, ""),
        kind=kind,
        name=name,
        namespace=_labelled(report, "resource.namespace") or _text(metadata, "namespace"),
    )


def _labelled(report: Mapping[str, Any], suffix: str) -> str:
    metadata = _mapping(report, "metadata")
    for place in ("labels", "annotations"):
        values = metadata.get(place) or {}
        for prefix in _PREFIXES if isinstance(values, Mapping) else ():
            if said := _text(values, f"{prefix}.{suffix}"):
                return said
    return ""


def _image_of(body: Mapping[str, Any]) -> dict[str, str]:
    registry, artifact = body.get("registry") or {}, body.get("artifact") or {}
    if not isinstance(registry, Mapping) or not isinstance(artifact, Mapping):
        raise BadInput("report.registry or report.artifact is not an object")
    path = "/".join(part for part in (_text(registry, "server"), _text(artifact, "repository")) if part)
    tag = _text(artifact, "tag")
    return {"image": f"{path}:{tag}" if path and tag else path, "imageDigest": _text(artifact, "digest")}


def _time_of(said: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None


def _mapping(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = holder.get(field)
    if not isinstance(value, Mapping):
        raise BadInput(f"{field} is missing or not an object")
    return value


def _list(holder: Mapping[str, Any], field: str, where: str) -> list[Any]:
    """The field as a list; Go writes null for an empty one."""
    value = holder.get(field)
    if value is not None and not isinstance(value, list):
        raise BadInput(f"{where}.{field} is not a list")
    return value or []


def _text(holder: Mapping[str, Any], field: str) -> str:
    """The field as text. Anything but a string counts as absent."""
    value = holder.get(field)
    return value.strip() if isinstance(value, str) else ""


TRIVY = Watcher(
    name="trivy",
    reads=(ApiResource("aquasecurity.github.io", "v1alpha1", "vulnerabilityreports", "VulnerabilityReport"),),
    parse=parse,
)
