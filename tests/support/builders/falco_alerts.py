"""Builders of what Falco posts. A test names only the fields that it is about."""

from typing import Any

from watchers.falco import FALCO
from watchers.falco.body import decode
from watchers.falco.watcher import FalcoSettings
from zenwatch.model.finding import Finding
from zenwatch.sdk.watcher import SelfIdentity, Verdict

OWN = SelfIdentity(own_namespace="zenwatch", own_pod="zenwatch-6d4cf56db6-abcde")
FIELDS: dict[str, Any] = {
    "container.id": "0f3c1a7be2d4",
    "container.image.digest": "sha256:87ef04ff2e8b42d6e0c46e0e98bc47dcfe850e07f8b63fc3bb67efa52f681dc4",
    "container.image.repository": "docker.io/library/nginx",
    "container.image.tag": "1.27",
    "container.name": "web",
    "evt.time": 1767261600123456789,
    "k8s.ns.name": "shop",
    "k8s.pod.name": "catalog-0",
    "proc.cmdline": "sh -c id",
    "proc.name": "sh",
    "user.name": "root",
}
SENTENCE = "A shell was spawned in a container"


def an_alert(fields: Any = None, **changes: Any) -> dict[str, Any]:
    """A valid alert with changes. fields: changes of output_fields. A field with the value KeyError is absent."""
    alert = {
        "hostname": "worker-1",
        "output": f"10:00:00.123456789: Notice {SENTENCE} (user=root command=sh -c id)",
        "output_fields": FIELDS | (fields or {}),
        "priority": "Notice",
        "rule": "Terminal shell in container",
        "source": "syscall",
        "tags": ["container", "shell"],
        "time": "2026-01-01T10:00:00.123456789Z",
    } | changes
    if isinstance(output_fields := alert["output_fields"], dict):
        alert["output_fields"] = {name: value for name, value in output_fields.items() if value is not KeyError}
    return {name: value for name, value in alert.items() if value is not KeyError}


def judged(event: Any, *, own: SelfIdentity = OWN, **environment: str) -> Verdict:
    return FALCO.prepare(FalcoSettings.read(environment, prefix="FALCO_"), own)(event)


def found(fields: Any = None, **changes: Any) -> Finding:
    """The finding in an alert with these changes."""
    finding = judged(an_alert(fields, **changes)).finding
    assert finding is not None
    return finding


def alerts_in(body: str | bytes, media_type: str = "application/json") -> list[Any]:
    return list(decode(body.encode() if isinstance(body, str) else body, media_type))
