"""Read what tools wrote, whatever they wrote: a value of the wrong type is absent or bad input, never another exception.

In: objects as the API server or a tool sent them.  Out: texts, lists, times, and what is known of Kubernetes kinds.
Owns: nothing.
Stops: nothing to stop.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from zenwatch.errors import BadInput
from zenwatch.model.finding import Detail, Finding, Resource, Severity
from zenwatch.model.timestamps import parse_rfc3339

# Tools name the kind of what they looked at, and often not its group.
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
# Kinds of no namespace, whichever namespace a tool or the place of its report suggests.
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
# Go prints its zero time as year 1; no tool of ours found anything before Kubernetes was, nor can after 9998.
_YEARS = range(2014, 9999)


def text_of(holder: Mapping[str, Any], field: str) -> str:
    """Anything but a string counts as absent."""
    value = holder.get(field)
    return value.strip() if isinstance(value, str) else ""


def texts_of(holder: Mapping[str, Any], field: str) -> list[str]:
    """The strings in a list; empty ones, and what is no string, are left out."""
    value = holder.get(field)
    said = value if isinstance(value, list) else ()
    return [entry.strip() for entry in said if isinstance(entry, str) and entry.strip()]


def mapping_of(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = holder.get(field)
    if not isinstance(value, Mapping):
        raise BadInput(f"{field} is missing or not an object")
    return value


def mapping_or_none(holder: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    """Anything but an object counts as an empty one."""
    value = holder.get(field)
    return value if isinstance(value, Mapping) else {}


def entries_of(holder: Mapping[str, Any], field: str, where: str) -> list[Mapping[str, Any]]:
    """The objects in a list. Absent and null are an empty list, as Go writes it. where: how BadInput names the list."""
    value = holder.get(field)
    if value is None:
        return []
    if not isinstance(value, list):
        raise BadInput(f"{where} is not a list")
    for place, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise BadInput(f"{where}[{place}] is not an object")
    return value


def severity_of(said: str, otherwise: Severity) -> Severity:
    """The word in any case where it is one of ours."""
    word = said.upper()
    return Severity(word) if word in Severity.__members__ else otherwise


def time_of(said: Any) -> datetime | None:
    """RFC 3339, or {seconds, nanos} since 1970. None: no time, or one that cannot be."""
    try:
        if isinstance(said, Mapping):
            seconds = said.get("seconds")
            is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
            moment = datetime.fromtimestamp(seconds, UTC) if is_number and seconds is not None else None
        else:
            moment = parse_rfc3339(said, assume_utc=True)
    except (ValueError, OverflowError, OSError):
        return None
    return moment if moment is not None and moment.year in _YEARS else None


def links_of(said: Iterable[Any]) -> list[str]:
    """What is an address, and nothing else, in the same order."""
    return [link for link in said if isinstance(link, str) and _URL.fullmatch(link)]


def filled(details: Mapping[str, Detail]) -> dict[str, Detail]:
    """Without what the tool did not say."""
    return {name: value for name, value in details.items() if value not in ("", [])}


def owner_of(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The controlling owner, else the first; empty where there is none."""
    value = metadata.get("ownerReferences")
    owners = [owner for owner in value if isinstance(owner, Mapping)] if isinstance(value, list) else []
    return next((owner for owner in owners if owner.get("controller") is True), owners[0] if owners else {})


def key_of(resource: Resource, *parts: str) -> str:
    """namespace/kind/name/parts; an empty part keeps its slash."""
    return "/".join((resource.namespace, resource.kind, resource.name, *parts))


def reassigned_to(finding: Finding, owner: Resource) -> Finding:
    """The finding as said of owner; what it was said of is listed in details. Unchanged where the key is not made of the resource."""
    resource, reported = finding.resource, key_of(finding.resource, "")
    if resource == owner or not finding.key.startswith(reported):
        return finding
    return replace(
        finding,
        key=key_of(owner, "") + finding.key.removeprefix(reported),
        resource=owner,
        details={**finding.details, "resources": [f"{resource.kind}/{resource.name}"]},
    )
