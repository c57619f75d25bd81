"""Builders of what the API server posts. A test names only the fields that it is about."""

import json
from collections.abc import Mapping
from typing import Any

from watchers.audit import AUDIT
from watchers.audit.watcher import AuditSettings
from zenwatch.model.finding import Finding
from zenwatch.sdk.watcher import SelfIdentity, Verdict

Json = dict[str, Any]
RBAC = "rbac.authorization.k8s.io"
OWN_ACCOUNT = "system:serviceaccount:zenwatch:zenwatch"
KUBELET = {"username": "system:node:worker-1", "groups": ["system:nodes", "system:authenticated"]}
ALICE = {"username": "alice", "groups": ["developers", "system:authenticated"]}
ANYBODY = {"username": "system:anonymous", "groups": ["system:unauthenticated"]}


def a_reference(resource: str, name: str = "web", namespace: str = "shop", subresource: str = "") -> Json:
    """resource: in the form of kubectl, such as clusterroles.rbac.authorization.k8s.io."""
    plural, _, group = resource.partition(".")
    fields = {"resource": plural, "namespace": namespace, "name": name, "apiGroup": group, "apiVersion": "v1", "subresource": subresource}
    return {part: text for part, text in fields.items() if text}


def an_event(about: Json | str | None = "pods", **changes: Any) -> Json:
    """alice read a pod, which no rule stores. A field with the value None is absent. code: the code in responseStatus."""
    code = changes.pop("code", 200)
    fields = {
        "level": "Metadata",
        "auditID": "70607cf4-c644-4642-af31-0d9a173259fe",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods/web",
        "verb": "get",
        "user": ALICE,
        "sourceIPs": ["192.0.2.10"],
        "userAgent": "kubectl/v1.36.3 (linux/amd64) kubernetes/0000000",
        "objectRef": a_reference(about) if isinstance(about, str) else about,
        "responseStatus": None if code is None else {"metadata": {}, "code": code},
        "requestReceivedTimestamp": "2026-01-01T10:00:00.946487Z",
        "stageTimestamp": "2026-01-01T10:00:01.948683Z",
    }
    return {field: value for field, value in (fields | changes).items() if value is not None}


def a_body(*events: Any, **changes: Any) -> bytes:
    fields = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": list(events)} | changes
    return json.dumps({field: value for field, value in fields.items() if value is not ...}).encode()


def a_role(*rules: Mapping[str, Any], kind: str = "ClusterRole", name: str = "reader") -> Json:
    return {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": {"name": name}, "rules": list(rules)}


def a_binding(role: str, kind: str = "ClusterRoleBinding", role_kind: str = "ClusterRole") -> Json:
    role_ref = {"apiGroup": RBAC, "kind": role_kind, "name": role}
    return {"kind": kind, "apiVersion": f"{RBAC}/v1", "metadata": {"name": "bound"}, "roleRef": role_ref, "subjects": []}


def a_pod(name: str = "web-x2x8k", **spec: Any) -> Json:
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name}, "spec": {"containers": [{"name": "web"}]} | spec}


def judged(event: Any, *, own_account: str = OWN_ACCOUNT, rules_file: str = "") -> Verdict:
    """event: a mapping, or an event from decode()."""
    settings = AuditSettings.read({"AUDIT_RULES_FILE": rules_file}, prefix="AUDIT_")
    return AUDIT.prepare(settings, SelfIdentity(own_account=lambda: own_account))(event)


def verdicts(body: bytes, media_type: str = "application/json") -> list[Verdict]:
    return [judged(event) for event in AUDIT.decode(body, media_type)]


def found(event: Any) -> Finding:
    finding = judged(event).finding
    assert finding is not None
    return finding
