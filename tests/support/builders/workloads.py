"""Kubernetes workloads, as a user or a controller creates them."""

from typing import Any

Json = dict[str, Any]


def a_workload(kind: str, name: str, namespace: str, *, owner: Json | None = None) -> Json:
    """A Deployment, a ReplicaSet or a Pod. owner: the object that controls it."""
    containers = [{"name": "web", "image": "nginx:1.21.0"}]
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": containers}}
    spec = {"containers": containers} if kind == "Pod" else {"selector": {"matchLabels": labels}, "template": template}
    api_version = "v1" if kind == "Pod" else "apps/v1"
    owners = {"ownerReferences": [owned_by(owner)]} if owner else {}
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "labels": labels} | owners,
        "spec": spec,
    }


def owned_by(owner: Json) -> Json:
    """The ownerReference that makes this object the controller of another one."""
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
    return reference | {part: owner["metadata"][part] for part in ("name", "uid")}
