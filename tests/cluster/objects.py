"""Reports as a person applies them, and records as kubectl shows them."""

import json
from typing import Any

from tests.controlplane.cluster import ControlPlane
from tests.fakes.findings import a_report

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
