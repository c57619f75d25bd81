"""Pushed events become records: alerts by POST, audit events from the API server itself, with a token and over TLS."""

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.builders.posted import an_alert_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.live.client import get, post
from tests.support.live.objects import records_of_source
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster

Start = Callable[..., Zenwatch]


# ---------------------------------------------------------------- Falco


def test_an_alert_is_a_record_as_soon_as_it_is_posted(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """It does not wait for a round. A burst of the alert is the same record, with a count."""
    zenwatch = start_zenwatch(WATCH_INTERVAL="1h")
    answers = [post(f"{zenwatch.url}/falco/webhook", an_alert_in(namespace)) for _ in range(7)]

    [record] = eventually(lambda: [r for r in records_of_source(cluster, namespace, "falco") if r["status"]["count"] == 7])

    assert answers == [(200, "1 taken, 0 left out, 0 not understood\n")] * 7
    assert record["metadata"]["name"].startswith("falco-")
    assert record["spec"]["severity"] == "CRITICAL"
    assert record["spec"]["key"] == "Terminal shell in container/web/A shell was spawned in a container (user=root k8s."
    assert record["spec"]["resource"] == {"apiVersion": "v1", "kind": "Pod", "name": "web", "namespace": namespace}
    # The alert's own time is long ago, but lastSeen is not before the creation of the record.
    assert record["status"]["lastSeen"] == record["status"]["firstSeen"] == record["metadata"]["creationTimestamp"]
    assert len(record["spec"]["details"]["samples"]) <= 5
    assert "Terminal shell in container" in cluster.kubectl("get", "zae", "-n", namespace)


def test_counting_goes_on_after_a_restart(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The new process reads what is stored, so the last five samples stay the last five."""
    stopped: list[Zenwatch] = []
    for minute in range(3):
        zenwatch = start_zenwatch()
        for second in range(3):
            output = f"13:{minute:02}:{second:02}.000000000: Critical A shell was spawned"
            assert post(f"{zenwatch.url}/falco/webhook", an_alert_in(namespace, output=output))[0] == 200
        assert zenwatch.stop() == 0
        stopped.append(zenwatch)

    [record] = records_of_source(cluster, namespace, "falco")

    assert record["status"]["count"] == 9
    assert [sample[:8] for sample in record["spec"]["details"]["samples"]] == ["13:01:01", "13:01:02", "13:02:00", "13:02:01", "13:02:02"]
    pages = [line for zenwatch in stopped for line in zenwatch.log("ledger") if line["source"] == "falco"]
    assert [page["repeated"] for page in pages] == [2, 3, 3]


def test_the_pages_show_health_and_metrics(cluster: ControlPlane, start_zenwatch: Start) -> None:
    """It is alive and ready, and it counts."""
    zenwatch = start_zenwatch()
    post(f"{zenwatch.url}/falco/webhook", {"rule": "Falco internal: metrics snapshot", "source": "internal", "output": "x"})

    alive, beat = get(f"{zenwatch.url}/healthz")
    eventually(lambda: get(f"{zenwatch.url}/readyz")[0] == 200)
    ready, lines = get(f"{zenwatch.url}/readyz")
    _, metrics = get(f"{zenwatch.url}/metrics")

    assert (alive, ready) == (200, 200), beat
    assert lines.splitlines() == [
        "apiserver ok",
        "crds ok",
        *(f"buffer/{source} ok: 0 of {events} events" for source, events in (("audit", 200), ("falco", 100))),
    ]
    assert 'zenwatch_findings_settled_total{cluster_id="local",outcome="filtered",source="falco"} 1.0' in metrics
    assert 'zenwatch_pushed_events_excluded_total{cluster_id="local",rule="telemetry",source="falco"} 1.0' in metrics


def test_without_an_api_server_it_is_alive_and_not_ready(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """It keeps what it cannot store until its buffer is full; then it answers 503 and counts what is lost."""
    zenwatch = start_zenwatch(FALCO_BUFFER_SIZE="5", API_TIMEOUT="2s")
    zenwatch.wait_for_log("records_read_back")
    cluster.stop_apiserver()
    try:
        answers = [post(f"{zenwatch.url}/falco/webhook", an_alert_in(namespace, rule=f"rule {number}")) for number in range(7)]
        eventually(lambda: "apiserver fails" in get(f"{zenwatch.url}/readyz")[1])
        ready, lines = get(f"{zenwatch.url}/readyz")
        alive, _ = get(f"{zenwatch.url}/healthz")
    finally:
        cluster.start_apiserver()

    assert [status for status, _ in answers] == [200] * 5 + [503] * 2
    assert (alive, ready) == (200, 503)
    assert "buffer/falco full: 5 of 5 events" in lines
    eventually(lambda: len(records_of_source(cluster, namespace, "falco")) == 5)
    assert zenwatch.stop() == 0
    ledger = next(line for line in zenwatch.log("ledger") if line["source"] == "falco")
    assert (ledger["received"], ledger["stored"], ledger["lost"], ledger["in_flight"]) == (7, 5, 2, 0)


def test_two_processes_cannot_have_one_port(cluster: ControlPlane, start_zenwatch: Start) -> None:
    """The second process ends and names the setting."""
    first = start_zenwatch()
    second = start_zenwatch(LISTEN=first.url.rpartition("/")[2])

    assert second.process.wait(20) == 2
    assert "LISTEN is 127.0.0.1:" in second.text()


# ---------------------------------------------------------------- the API server's own audit events


@pytest.fixture
def audited(cluster: ControlPlane, start_zenwatch: Start, tmp_path: Path) -> Zenwatch:
    """zenwatch at the address that the API server posts to: over TLS, with the token that it sends."""
    options = cluster.options
    token_file = tmp_path / "token"
    token_file.write_text(options.audit_webhook_token)
    cert_file, key_file, _ = cluster.serving_certificate()
    listen = str(options.audit_webhook_url).removeprefix("https://").partition("/")[0]
    return start_zenwatch(LISTEN=listen, WEBHOOK_TOKEN_FILE=str(token_file), TLS_CERT_FILE=str(cert_file), TLS_KEY_FILE=str(key_file))


PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "toolbox"},
    "spec": {"containers": [{"name": "shell", "image": "busybox", "securityContext": {"privileged": True}}]},
}
# It is in no other value.
HIDDEN = "hunter2-hidden-value"


@pytest.fixture
def binding(cluster: ControlPlane) -> Iterator[str]:
    name = f"audited-{cluster.namespace()}"
    yield name
    cluster.kubectl("delete", "clusterrolebinding", name)


def test_the_api_server_posts_what_a_user_does_with_kubectl(
    cluster: ControlPlane, namespace: str, audited: Zenwatch, binding: str, account: Identity
) -> None:
    """Secrets, a binding to cluster-admin, a privileged pod: each is a record that names the user. No value of a Secret is anywhere,
    and zenwatch's own writes are no records.
    """
    cluster.kubectl("create", "secret", "generic", "login", f"--from-literal=password={HIDDEN}", "-n", namespace)
    cluster.kubectl("get", "secret", "login", "-n", namespace)
    cluster.kubectl("delete", "secret", "login", "-n", namespace)
    cluster.kubectl("create", "clusterrolebinding", binding, "--clusterrole=cluster-admin", f"--user={namespace}")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(PRIVILEGED))
    with pytest.raises(Exception, match="orbidden"):
        cluster.kubectl("get", "secrets", "-n", namespace, identity=account)
    cluster.kubectl("delete", "pod", "toolbox", "-n", namespace, "--force", "--grace-period=0")

    def found() -> dict[str, dict[str, Any]]:
        in_namespace = records_of_source(cluster, namespace, "audit")
        bindings = [r for r in records_of_source(cluster, "zenwatch", "audit") if r["spec"].get("resource", {}).get("name") == binding]
        return {f"{r['spec']['eventType']} {r['spec']['details']['verb']}": r for r in [*in_namespace, *bindings]}

    wanted = {
        "secret-access create",
        "secret-access get",
        "resource-deletion delete",
        "rbac-change create",
        "privileged-pod-creation create",
        "access-denied list",
    }
    eventually(lambda: wanted <= found().keys(), within_secs=60)
    by_kind = found()

    assert by_kind["rbac-change create"]["spec"]["severity"] == "HIGH"
    assert "cluster-admin" in by_kind["rbac-change create"]["spec"]["title"]
    assert by_kind["privileged-pod-creation create"]["spec"]["severity"] == "HIGH"
    assert by_kind["access-denied list"]["spec"]["severity"] == "MEDIUM"
    assert by_kind["access-denied list"]["spec"]["details"]["user"] == "system:serviceaccount:zenwatch:zenwatch"
    created = by_kind["secret-access create"]["spec"]
    assert created["key"] == created["details"]["auditID"]
    assert created["details"]["objectRef"] == {"resource": "secrets", "namespace": namespace, "name": "login", "apiVersion": "v1"}
    assert created["details"]["user"] == "admin"

    everything = json.loads(cluster.kubectl("get", "zae", "-A", "-l", "source=audit", "-o", "json"))["items"]
    own = [r for r in everything if r["spec"]["details"].get("objectRef", {}).get("apiGroup") == "zen.kube-zen.io"]
    assert [r["spec"]["title"] for r in own if r["spec"]["details"]["user"].startswith("system:serviceaccount:zenwatch:")] == []
    assert HIDDEN not in json.dumps(everything) + audited.text()
    assert audited.stop() == 0
    ledger = next(line for line in audited.log("ledger") if line["source"] == "audit")
    assert (ledger["lost"], ledger["rejected"], ledger["in_flight"]) == (0, 0, 0)


def test_only_who_has_the_token_may_post(cluster: ControlPlane, audited: Zenwatch) -> None:
    """The API server has it; other clients that reach the port do not."""
    tls = ssl.create_default_context(cafile=str(cluster.serving_certificate()[2]))

    assert audited.url.startswith("https://")
    assert post(f"{audited.url}/audit/webhook", {}, tls=tls)[0] == 401
    assert post(f"{audited.url}/audit/webhook/{cluster.options.audit_webhook_token}", {}, tls=tls)[0] == 404
    assert cluster.options.audit_webhook_token not in audited.text()
