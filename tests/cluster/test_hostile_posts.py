"""Hostile bodies: each gets an answer of 2xx or 4xx, the process goes on with bounded memory, and no secret is kept or shown."""

import base64
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.builders.hostile import mutated
from tests.support.controlplane.cluster import ControlPlane
from tests.support.corpus import CORPUS
from tests.support.live.client import get, post
from tests.support.live.process import Zenwatch, eventually
from tests.support.paths import ROOT

pytestmark = pytest.mark.cluster

Start = Callable[..., Zenwatch]
PATHS = {"falco": "/falco/webhook", "audit": "/audit/webhook"}
# The server accepts four bodies of 16 MiB at a time; these come one after the other.
PEAK_MB = 250.0


def _bodies(source: str) -> list[tuple[str, bytes]]:
    """Our own example, and the bodies of the corpus if there is one."""
    own = ROOT / "examples" / "pushed" / {"falco": "falco-alert.json", "audit": "audit-events.json"}[source]
    return [(file.name, file.read_bytes()) for file in (own, *sorted((CORPUS / source).glob("*.json")))]


def _peak_mb(zenwatch: Zenwatch) -> float:
    status = Path(f"/proc/{zenwatch.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


@pytest.mark.parametrize("source", list(PATHS))
def test_whatever_is_posted_is_answered(
    source: str, cluster: ControlPlane, namespace: str, start_zenwatch: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    """The answer is never 5xx, except for a full buffer; the ledger balances at the end."""
    # The buffers are large enough for all bodies. No namespace of the corpus exists, so all records go to zenwatch's own.
    zenwatch = start_zenwatch(FALCO_BUFFER_SIZE="100000", AUDIT_BUFFER_SIZE="100000")
    url, posts = zenwatch.url + PATHS[source], 0
    before_mb = _peak_mb(zenwatch)
    for name, body in _bodies(source):
        for mutation, sent in mutated(body):
            status, line = post(url, sent)
            posts += 1
            assert status in (200, 400, 413), f"{name}, {mutation}: {status} {line}"
            assert line.count("\n") == 1
            assert len(line) < 1000
    assert get(f"{zenwatch.url}/healthz")[0] == 200
    peak_mb = _peak_mb(zenwatch)
    with capsys.disabled():
        print(f"\n{source}: {posts} bodies posted, peak memory {before_mb:.0f} MB before, {peak_mb:.0f} MB after")  # noqa: T201

    assert peak_mb < PEAK_MB
    assert zenwatch.stop() == 0
    assert "task_failed" not in zenwatch.text()
    assert "plugin_failed" not in zenwatch.text()
    assert "request_failed" not in zenwatch.text()
    ledger = next(line for line in zenwatch.log("ledger") if line["source"] == source)
    assert (ledger["lost"], ledger["in_flight"]) == (0, 0)


# ---------------------------------------------------------------- secrets

# One secret for each part of a request, so that a leak shows which part it came from.
PLANTED = [f"planted{number:02}-Xk9vQ2mZ7wLr4T" for number in range(20)]


def _audit_event(number: int, namespace: str, *, resource: str, verb: str = "create", **more: object) -> dict[str, object]:
    return {
        "level": "RequestResponse",
        "auditID": f"00000000-0000-0000-0000-{namespace[-8:]}{number:04}",
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/{namespace}/{resource}/it",
        "verb": verb,
        "user": {"username": "alice", "groups": ["system:authenticated"]},
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/v1.36.0",
        "objectRef": {"resource": resource, "namespace": namespace, "name": "it", "apiVersion": "v1"},
        "responseStatus": {"code": 201},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
    } | more


def _planted_audit(namespace: str) -> dict[str, object]:
    encoded = base64.b64encode(PLANTED[1].encode()).decode()
    pod_exec = {"resource": "pods", "namespace": namespace, "name": "it", "apiVersion": "v1", "subresource": "exec"}
    events = [
        _audit_event(0, namespace, resource="secrets", requestObject={"kind": "Secret", "stringData": {"password": PLANTED[0]}}),
        _audit_event(1, namespace, resource="secrets", responseObject={"kind": "Secret", "data": {"password": encoded}}),
        _audit_event(2, namespace, resource="configmaps", verb="delete", responseObject={"data": {"application.yaml": PLANTED[2]}}),
        _audit_event(
            3,
            namespace,
            resource="serviceaccounts",
            objectRef={"resource": "serviceaccounts", "namespace": namespace, "name": "it", "apiVersion": "v1", "subresource": "token"},
            responseObject={"kind": "TokenRequest", "status": {"token": PLANTED[3]}},
        ),
        _audit_event(4, namespace, resource="secrets", annotations={"example.test/note": f"the password is {PLANTED[4]}"}),
        _audit_event(
            5,
            namespace,
            resource="secrets",
            requestObject={"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": PLANTED[5]}}},
        ),
        _audit_event(
            6,
            namespace,
            resource="pods",
            verb="get",
            objectRef=pod_exec,
            responseStatus={"code": 101},
            requestURI=f"/api/v1/namespaces/{namespace}/pods/it/exec?command=mysql&command=-p{PLANTED[6]}&container=db",
        ),
        _audit_event(7, namespace, resource="secrets", userAgent=f"curl/8 (password={PLANTED[7]})"),
        _audit_event(8, namespace, resource="secrets", requestURI=f"/api/v1/namespaces/{namespace}/secrets?token={PLANTED[8]}"),
        _audit_event(
            9,
            namespace,
            resource="pods",
            requestObject={
                "spec": {
                    "hostNetwork": True,
                    "containers": [{"name": "a", "env": [{"name": "DB_PASSWORD", "value": PLANTED[9]}], "args": ["--token", PLANTED[9]]}],
                }
            },
        ),
        _audit_event(
            10,
            namespace,
            resource="services",
            objectRef={},
            user={"username": "system:anonymous", "groups": ["system:unauthenticated"]},
            requestURI=f"/api/v1/namespaces/{namespace}/services/web/proxy/login/{PLANTED[10]}?api_key={PLANTED[10]}",
            responseStatus={"code": 200},
            verb="get",
        ),
        _audit_event(11, namespace, resource="secrets", user={"username": "bob", "extra": {"session": [PLANTED[11]]}}),
        _audit_event(12, namespace, resource="secrets", verb=f"{{{PLANTED[12]}", auditID=7),
    ]
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": events}


def _planted_alerts(namespace: str) -> list[dict[str, object]]:
    commands = [
        f"mysql -u root -p{PLANTED[13]}",
        f"curl -H Authorization: Bearer {PLANTED[14]} https://example.test",
        f"psql postgres://app:{PLANTED[15]}@db/app",
        f"env AWS_SECRET_ACCESS_KEY={PLANTED[16]} aws s3 ls",
    ]
    return [
        {
            "output": f"10:00:00.000000000: Notice A shell was spawned (command={command})",
            "priority": "Notice",
            "rule": f"Shell {number}",
            "output_fields": {"k8s.ns.name": namespace, "k8s.pod.name": "web", "proc.cmdline": command, "proc.env": command},
        }
        for number, command in enumerate(commands)
    ]


def test_no_secret_that_is_posted_appears_again(cluster: ControlPlane, namespace: str, start_zenwatch: Start, tmp_path: Path) -> None:
    """Twenty secrets in bodies, annotations, URLs, headers and output are not in records, logs, metrics, answers or the spool."""
    token_file = tmp_path / "token"
    token_file.write_text(PLANTED[17])
    spool = tmp_path / "spool"
    zenwatch = start_zenwatch(LOG_LEVEL="debug", WEBHOOK_TOKEN_FILE=str(token_file), SPOOL_DIR=str(spool))
    answers = [
        post(f"{zenwatch.url}/audit/webhook", _planted_audit(namespace), Authorization=f"Bearer {PLANTED[17]}", Cookie=PLANTED[18]),
        *(post(f"{zenwatch.url}/falco/webhook/{PLANTED[17]}", alert) for alert in _planted_alerts(namespace)),
        post(f"{zenwatch.url}/falco/webhook/{PLANTED[19]}", {}),
        post(f"{zenwatch.url}/audit/webhook", {}, Authorization=f"Bearer {PLANTED[19]}"),
        post(f"{zenwatch.url}/{PLANTED[19]}", {}),
        post(f"{zenwatch.url}/falco/webhook/{PLANTED[17]}", f'{{"rule": "{PLANTED[19]}'.encode()),
        post(f"{zenwatch.url}/audit/webhook", f"{{{PLANTED[19]}".encode(), Authorization=f"Bearer {PLANTED[17]}"),
    ]
    statuses = [status for status, _ in answers]
    assert statuses == [200] * 5 + [401, 401, 404, 400, 400], answers

    def stored() -> list[object]:
        return list(json.loads(cluster.kubectl("get", "zae", "-n", namespace, "-o", "json"))["items"])

    # All events with a secret are stored, except the broken one: only a stored record shows that it has no secret.
    eventually(lambda: len(stored()) >= 15)
    request = urllib.request.Request(f"{zenwatch.url}/metrics", headers={"Authorization": f"Bearer {PLANTED[17]}"})  # noqa: S310  ours
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        metrics = answer.read().decode()
    # A settled event may still be in the write-ahead log.
    on_disk = "".join(path.read_bytes().decode("latin-1") for path in sorted(spool.iterdir()))
    assert zenwatch.stop() == 0
    assert "Shell 0" in on_disk
    answered = json.dumps([line for _, line in answers])
    everything = cluster.kubectl("get", "zae", "-A", "-o", "json") + zenwatch.text() + answered + metrics + on_disk
    encoded = [base64.b64encode(secret.encode()).decode() for secret in PLANTED]
    assert [secret for secret in [*PLANTED, *encoded] if secret in everything] == []
