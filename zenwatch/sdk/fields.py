"""Read untrusted JSON: a value of the wrong type counts as absent or raises BadInput, and never raises another exception.

Also holds what zenwatch knows of Kubernetes kinds.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from zenwatch.errors import BadInput
from zenwatch.model.finding import Detail, Finding, Resource, Severity
from zenwatch.model.timestamps import parse_rfc3339

# Tools name the kind of a resource, and often not its group.
API_VERSIONS = {
    "ConfigMap": "v1",
    "Endpoints": "v1",
    "LimitRange": "v1",
    "Namespace": "v1",
    "Node": "v1",
    "PersistentVolume": "v1",
    "PersistentVolumeClaim": "v1",
    "Pod": "v1",
    "ReplicationController": "v1",
    "ResourceQuota": "v1",
    "Secret": "v1",
    "Service": "v1",
    "ServiceAccount": "v1",
    "DaemonSet": "apps/v1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "CronJob": "batch/v1",
    "Job": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "Ingress": "networking.k8s.io/v1",
    "IngressClass": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "PodSecurityPolicy": "policy/v1beta1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "StorageClass": "storage.k8s.io/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
}
# Kinds without a namespace, whichever namespace the tool or its report has.
CLUSTER_SCOPED = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "IngressClass",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PodSecurityPolicy",
        "PriorityClass",
        "StorageClass",
        "ValidatingWebhookConfiguration",
    }
)
_URL = re.compile(r"https?://[!-~]+")
# Go prints its zero time as year 1. No finding is older than Kubernetes, and datetime cannot convert the year 9999 to every time zone.
_YEARS = range(2014, 9999)


def text_of(holder: Mapping[str, Any], field: str) -> str:
    """The string without surrounding space; empty if the value is no string."""
    value = holder.get(field)
    return value.strip() if isinstance(value, str) else ""


def texts_of(holder: Mapping[str, Any], field: str) -> list[str]:
    """The strings in a list. Skips empty strings and other values; empty if the value is no list."""
    value = holder.get(field)
    entries = value if isinstance(value, list) else ()
    return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]


def mapping_of(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The object. Raises BadInput if the value is no object."""
    value = holder.get(field)
    if not isinstance(value, Mapping):
        raise BadInput(f"{field} is missing or not an object")
    return value


def mapping_or_none(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """The object; empty if the value is no object."""
    value = holder.get(field)
    return value if isinstance(value, Mapping) else {}


def entries_of(holder: Mapping[str, Any], field: str, where: str) -> list[Mapping[str, Any]]:
    """The objects in a list. Absent and null are an empty list, as in Go. Raises BadInput for other values; `where` names the list."""
    value = holder.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInput(f"{where} is not a list")
    for index, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise BadInput(f"{where}[{index}] is not an object")
    return value


def read_entries(
    holder: Mapping[str, Any], field: str, where: str, read: Callable[[Mapping[str, Any], str], Iterator[Finding | BadInput]]
) -> Iterator[Finding | BadInput]:
    """What read() yields for each object in a list. An entry that cannot be read costs only itself: its BadInput is yielded.

    read: gets the entry and its position, such as status.issues[2]. Raises BadInput if the value is neither a list nor absent.
    """
    value = holder.get(field)
    if value is not None and not isinstance(value, list):
        raise BadInput(f"{where} is not a list")
    for index, entry in enumerate(value or ()):
        at = f"{where}[{index}]"
        yield from tolerating(read(entry, at)) if isinstance(entry, Mapping) else [BadInput(f"{at} is not an object")]


def tolerating(findings: Iterator[Finding | BadInput]) -> Iterator[Finding | BadInput]:
    """The same findings. A BadInput that ends them is yielded, so that it costs only this part of a report."""
    try:
        yield from findings
    except BadInput as exc:
        yield exc


def severity_of(text: str, otherwise: Severity) -> Severity:
    """The severity of this name, in upper or lower case; else `otherwise`."""
    word = text.upper()
    return Severity(word) if word in Severity.__members__ else otherwise


def time_of(raw: Any) -> datetime | None:
    """Reads RFC 3339, or {seconds, nanos} since 1970. None: it is no time, or an impossible one."""
    try:
        if isinstance(raw, Mapping):
            seconds = raw.get("seconds")
            is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
            moment = datetime.fromtimestamp(seconds, UTC) if is_number and seconds is not None else None
        else:
            moment = parse_rfc3339(raw, assume_utc=True)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment is not None and moment.year in _YEARS else None


def links_of(values: Iterable[Any]) -> list[str]:
    """The values that are web addresses, in the same order."""
    return [link for link in values if isinstance(link, str) and _URL.fullmatch(link)]


def filled(details: Mapping[str, Detail]) -> dict[str, Detail]:
    """The details without empty texts and lists: what the tool does not fill is absent from a record."""
    return {name: value for name, value in details.items() if value not in ("", [])}


def owner_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The owner that is the controller, else the first owner; empty if there is no owner."""
    value = metadata.get("ownerReferences")
    owners = [owner for owner in value if isinstance(owner, Mapping)] if isinstance(value, list) else []
    return next((owner for owner in owners if owner.get("controller") is True), owners[0] if owners else {})


def key_of(resource: Resource, *parts: str) -> str:
    """namespace/kind/name/parts. An empty part keeps its slash."""
    return "/".join((resource.namespace, resource.kind, resource.name, *parts))


def reassigned_to(finding: Finding, owner: Resource) -> Finding:
    """The finding with `owner` as its resource. The former resource is listed in details.

    Unchanged if the key does not begin with the finding's resource.
    """
    resource, reported = finding.resource, key_of(finding.resource, "")
    if resource == owner or not finding.key.startswith(reported):
        return finding
    return replace(
        finding,
        key=key_of(owner, "") + finding.key.removeprefix(reported),
        resource=owner,
        details={**finding.details, "resources": [f"{resource.kind}/{resource.name}"]},
    )
