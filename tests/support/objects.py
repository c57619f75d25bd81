"""Reports as a person applies them, and records as kubectl shows them."""

import json
from typing import Any

from tests.support.controlplane.cluster import ControlPlane
from tests.support.fakes.findings import a_report

Json = dict[str, Any]


def apply(cluster: ControlPlane, *reports: Json) -> None:
    for report in reports:
        report["metadata"].pop("resourceVersion", None)
    # Server-side: a client-side apply puts a copy of the whole report into an annotation, which holds 256 KiB.
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": reports}))


def report_in(namespace: str, *vulnerabilities: Json, **changes: Any) -> Json:
    """Of the Pod nginx in that namespace."""
    return a_report(vulnerabilities, namespace=namespace, **changes)


def records(cluster: ControlPlane, namespace: str) -> list[Json]:
    """All records about resources in the namespace, wherever they lie, by title."""
    found: list[Json] = json.loads(cluster.kubectl("get", "zenagentevents", "-A", "-o", "json"))["items"]
    ours = [record for record in found if record["spec"].get("resource", {}).get("namespace") == namespace]
    return sorted(ours, key=lambda record: str(record["spec"]["title"]))


def writes(cluster: ControlPlane, namespace: str) -> list[str]:
    """What zenwatch wrote to records of the namespace so far, by the API server's own count: `create`, `patch`, `patch status`."""
    return [
        " ".join(filter(None, (event["verb"], event["objectRef"].get("subresource"))))
        for event in cluster.audit_events()
        if event["user"]["username"] == "system:serviceaccount:zenwatch:zenwatch"
        and event["stage"] == "ResponseComplete"
        and event["verb"] not in ("get", "list", "watch")
        and event.get("objectRef", {}).get("resource") == "zenagentevents"
        and event["objectRef"].get("namespace") == namespace
    ]


def record_of(cluster: ControlPlane, key: str) -> Json:
    """The one record of this key, wherever it lies; empty while there is none."""
    found = json.loads(cluster.kubectl("get", "zenagentevents", "-A", "-o", "json"))["items"]
    ours: list[Json] = [record for record in found if record["spec"]["key"] == key]
    assert len(ours) <= 1, f"{len(ours)} records of {key}"
    return ours[0] if ours else {}


def life_of(record: Json) -> tuple[str, str, int]:
    """Phase, reason, and how often it was reopened: what a life is made of."""
    status = record.get("status", {})
    return status.get("phase", ""), status.get("reason", ""), status.get("reopened", 0)


# ---------------------------------------------------------------- workloads, as their controllers would make them


def create(cluster: ControlPlane, wanted: Json) -> Json:
    """As the API server has it, with its uid."""
    made: Json = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(wanted)))
    return made


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
    """The reference by which the garbage collector knows it."""
    said = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "controller": True}
    return said | {part: owner["metadata"][part] for part in ("name", "uid")}


def report_on(workload: Json, *vulnerabilities: Json) -> Json:
    """The VulnerabilityReport that the Trivy Operator writes of a workload."""
    kind, name, namespace = workload["kind"], workload["metadata"]["name"], workload["metadata"]["namespace"]
    labels = {f"trivy-operator.resource.{part}": value for part, value in (("kind", kind), ("name", name), ("namespace", namespace))}
    labels["trivy-operator.container.name"] = "web"
    return a_report(vulnerabilities, name=f"{kind.lower()}-{name}-web", namespace=namespace, labels=labels)
