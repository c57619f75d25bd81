"""Bodies that Falco and the API server post."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
ALERT: Json = {
    "hostname": "worker-1",
    "output": "13:44:05.478445995: Critical A shell was spawned in a container (user=root k8s.ns=shop k8s.pod=web shell=sh)",
    "priority": "Critical",
    "rule": "Terminal shell in container",
    "source": "syscall",
    "tags": ["container", "shell"],
    "time": "2026-05-25T13:44:05.478445995Z",
    "output_fields": {"container.id": "ee97d9c4186f", "k8s.ns.name": "shop", "k8s.pod.name": "web", "proc.name": "sh", "user.name": "root"},
}


def an_alert_in(namespace: str, **changes: Any) -> Json:
    """ALERT, raised for a pod of this namespace."""
    fields = {**ALERT["output_fields"], "k8s.ns.name": namespace}
    return ALERT | {"output_fields": fields} | changes


def a_numbered_alert(namespace: str, rule: str, number: int) -> Json:
    """All alerts of a rule have one key, because it ends before the number; the number makes each sample differ."""
    when = f"{10 + number // 3600 % 12}:{number // 60 % 60:02}:{number % 60:02}.{number:09}"
    return {
        "output": f"{when}: Notice A shell was spawned in a container with an attached terminal (user=root shot={number})",
        "priority": "Notice",
        "rule": rule,
        "source": "syscall",
        "time": f"2026-05-25T{when}Z",
        "output_fields": {"container.id": "ee97d9c4186f", "k8s.ns.name": namespace, "k8s.pod.name": "web", "proc.name": "sh"},
    }


def an_event_list(namespace: str, audit_ids: Sequence[str]) -> Json:
    """A batch in which alice deletes a Secret again and again."""
    events = [
        {
            "level": "Metadata",
            "auditID": audit_id,
            "stage": "ResponseComplete",
            "requestURI": f"/api/v1/namespaces/{namespace}/secrets/login",
            "verb": "delete",
            "user": {"username": "alice", "groups": ["developers", "system:authenticated"]},
            "sourceIPs": ["192.0.2.10"],
            "userAgent": "kubectl/v1.36.3",
            "objectRef": {"resource": "secrets", "namespace": namespace, "name": "login", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": "2026-05-25T10:00:00.946487Z",
            "stageTimestamp": "2026-05-25T10:00:01.948683Z",
        }
        for audit_id in audit_ids
    ]
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events}
