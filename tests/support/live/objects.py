"""Apply reports as a user does, and read records as kubectl returns them."""

import json
from typing import Any

from tests.support.controlplane.cluster import ControlPlane

Json = dict[str, Any]


def apply(cluster: ControlPlane, *reports: Json) -> None:
    for report in reports:
        report["metadata"].pop("resourceVersion", None)
    # Server-side: a client-side apply puts a copy of the whole report into an annotation, which holds 256 KiB.
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": reports}))


def create(cluster: ControlPlane, wanted: Json) -> Json:
    """Return the object as the API server stores it, with its uid."""
    made: Json = json.loads(cluster.kubectl("create", "-f", "-", "-o", "json", stdin=json.dumps(wanted)))
    return made


def records(cluster: ControlPlane, namespace: str) -> list[Json]:
    """All records about resources in the namespace, sorted by title; the records may be in other namespaces."""
    found: list[Json] = json.loads(cluster.kubectl("get", "zenagentevents", "-A", "-o", "json"))["items"]
    ours = [record for record in found if record["spec"].get("resource", {}).get("namespace") == namespace]
    return sorted(ours, key=lambda record: str(record["spec"]["title"]))


def records_of_source(cluster: ControlPlane, namespace: str, source: str) -> list[Json]:
    """The records of one source in the namespace."""
    return list(json.loads(cluster.kubectl("get", "zenagentevents", "-n", namespace, "-l", f"source={source}", "-o", "json"))["items"])


def writes(cluster: ControlPlane, namespace: str) -> list[str]:
    """zenwatch's writes to records of the namespace so far, from the API server's audit log: `create`, `patch`, `patch status`."""
    return [
        " ".join(filter(None, (event["verb"], event["objectRef"].get("subresource"))))
        for event in cluster.audit_events()
        if event["user"]["username"] == "system:serviceaccount:zenwatch:zenwatch"
        and event["stage"] == "ResponseComplete"
        and event["verb"] not in ("get", "list", "watch")
        and event.get("objectRef", {}).get("resource") == "zenagentevents"
        and event["objectRef"].get("namespace") == namespace
    ]


def remove_records(cluster: ControlPlane, namespace: str) -> None:
    """Spare the next tests' zenwatch the reading of thousands of records."""
    cluster.kubectl("delete", "--raw", f"/apis/zen.kube-zen.io/v1/namespaces/{namespace}/zenagentevents")


def record_of(cluster: ControlPlane, key: str) -> Json:
    """The only record of this key, in any namespace; empty: there is none yet."""
    found = json.loads(cluster.kubectl("get", "zenagentevents", "-A", "-o", "json"))["items"]
    ours: list[Json] = [record for record in found if record["spec"]["key"] == key]
    assert len(ours) <= 1, f"{len(ours)} records of {key}"
    return ours[0] if ours else {}


def life_of(record: Json) -> tuple[str, str, int]:
    """Phase, reason, and how often the record was reopened."""
    status = record.get("status", {})
    return status.get("phase", ""), status.get("reason", ""), status.get("reopened", 0)
