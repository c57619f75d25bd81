"""`zenwatch run` from start to stop: the cluster, the account, signals, and an API server that restarts."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.controlplane.processes import free_ports
from tests.support.live.client import get
from tests.support.live.objects import apply, records
from tests.support.live.process import Zenwatch, eventually
from tests.support.tasks import PATIENCE_SECS
from zenwatch.kube import access
from zenwatch.wiring.in_cluster import InClusterApp
from zenwatch.wiring.settings import Settings

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]
TRIVY = "aquasecurity.github.io"


def test_it_logs_which_cluster_it_uses_before_it_writes(cluster: ControlPlane, start_zenwatch: Start) -> None:
    """A user who chose the wrong cluster can see it in the first line."""
    zenwatch = start_zenwatch()
    zenwatch.wait_for_log("round_done")

    assert zenwatch.log()[0]["event"] == "cluster_chosen"
    assert cluster.server in zenwatch.log()[0]["cluster"]


def test_sigterm_finishes_the_writes_in_flight(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """The exit code is 0, the writer drops nothing, and the next process stores what is left."""
    apply(cluster, report_in(namespace, *(a_vulnerability(vulnerabilityID=f"CVE-2026-{number}") for number in range(400))))
    zenwatch = start_zenwatch(WRITE_CONCURRENCY="4")
    eventually(lambda: records(cluster, namespace))

    assert zenwatch.stop() == 0
    (page,) = zenwatch.log("ledger")
    assert page["received"] == 400
    assert page["stored"] == len(records(cluster, namespace))
    assert page["stored"] + page["in_flight"] == 400

    start_zenwatch().wait_for_stored(page["in_flight"])
    assert len(records(cluster, namespace)) == 400


def test_a_second_signal_ends_it_before_it_has_drained(start_zenwatch: Start, cluster: ControlPlane, namespace: str) -> None:
    """A user who presses Ctrl-C twice does not want to wait. The exit code is that of the signal."""
    apply(cluster, report_in(namespace, *(a_vulnerability(vulnerabilityID=f"CVE-2026-{number}") for number in range(2000))))
    zenwatch = start_zenwatch(WRITE_CONCURRENCY="1", SHUTDOWN_TIMEOUT="60s")
    eventually(lambda: records(cluster, namespace))
    zenwatch.signal(signal.SIGSTOP)
    zenwatch.signal(signal.SIGINT)
    zenwatch.signal(signal.SIGTERM)
    zenwatch.signal(signal.SIGCONT)

    assert zenwatch.process.wait(PATIENCE_SECS) in (128 + signal.SIGINT, 128 + signal.SIGTERM)


async def test_in_a_pod_it_uses_the_pods_account(cluster: ControlPlane, namespace: str) -> None:
    """Token, certificate and namespace come from the files that Kubernetes mounts."""
    pod = cluster.in_pod("zenwatch", "zenwatch")
    account = access.in_pod(pod.env, pod.folder)
    assert account.own_namespace == "zenwatch"
    apply(cluster, report_in(namespace, a_vulnerability()))
    app = InClusterApp(Settings.read({"WATCH_INTERVAL": "200ms"}), account)
    await app.start()
    try:
        await asyncio.to_thread(eventually, lambda: len(records(cluster, namespace)) == 1)
    finally:
        assert await app.stop()


def test_a_log_that_nobody_reads_stops_nothing(cluster: ControlPlane, account: Identity, namespace: str) -> None:
    """Its reader is gone (a pipe to a program that ended): rounds go on, health says so, and the lost lines are counted."""
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"WATCH_INTERVAL": "200ms", "LISTEN": f"127.0.0.1:{port}", "ALLOW_SECOND": "true"}
    command = [sys.executable, "-m", "zenwatch", "run", "--kubeconfig", str(cluster.kubeconfig(account))]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr
        process.stderr.readline()
        process.stderr.close()
        apply(cluster, report_in(namespace, a_vulnerability()))
        eventually(lambda: len(records(cluster, namespace)) == 1)
        apply(cluster, report_in(namespace, a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2")))
        eventually(lambda: len(records(cluster, namespace)) == 2)
        health, metrics = get(f"{url}/healthz"), get(f"{url}/metrics")[1]
        process.terminate()

    [lost] = [line for line in metrics.splitlines() if line.startswith("zenwatch_log_lines_lost_total ")]
    assert health[0] == 200, health[1]
    assert float(lost.split()[1]) > 0
    assert process.returncode == 0


def test_a_missing_permission_is_named(cluster: ControlPlane, start_zenwatch: Start) -> None:
    """The log names the missing rule once, without a stack trace."""
    nobody = cluster.service_account("zenwatch", "nobody")
    zenwatch = start_zenwatch(identity=nobody)
    reports = f"vulnerabilityreports.{TRIVY}"
    states = eventually(lambda: _states(zenwatch, reports))
    assert states[0]["error"] == f"missing permission: list {reports} in all namespaces"
    eventually(lambda: zenwatch.log("task_restarts"))
    assert [entry["error"] for entry in zenwatch.log("task_restarts")] == [
        "missing permission: list zenagentevents.zen.kube-zen.io in all namespaces"
    ]
    assert zenwatch.log("task_failed") == []
    assert [line["state"] for line in _states(zenwatch, reports)] == ["forbidden"]


def _states(zenwatch: Zenwatch, resource: str) -> list[dict[str, Any]]:
    return [line for line in zenwatch.log("reports_state_changed") if line["resource"] == resource]


def test_an_api_server_that_restarts_is_watched_again(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """Nothing is lost or written twice, and reports that come meanwhile are read."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability()))
    zenwatch.wait_for_stored(1)
    cluster.stop_apiserver()
    zenwatch.wait_for_log("watch_interrupted")
    cluster.start_apiserver()
    apply(cluster, report_in(namespace, a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2")))
    zenwatch.wait_for_stored(2)

    assert len(records(cluster, namespace)) == 2
    assert zenwatch.process.poll() is None


def test_a_resource_version_that_is_too_old_is_answered_by_a_new_list(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """A real 410: while zenwatch is stopped, reports come and go, and the API server restarts and forgets these changes."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(namespace, a_vulnerability(), name="first"))
    zenwatch.wait_for_stored(1)
    cluster.stop_apiserver()
    zenwatch.wait_for_log("watch_interrupted")
    zenwatch.signal(signal.SIGSTOP)
    cluster.start_apiserver()
    cluster.kubectl("delete", "vulnerabilityreports", "first", "-n", namespace)
    apply(cluster, report_in(namespace, a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2"), name="second"))
    (record,) = records(cluster, namespace)
    cluster.kubectl("annotate", "zae", record["metadata"]["name"], "-n", namespace, "example.test/touched=yes")
    cluster.stop_apiserver()
    cluster.start_apiserver()
    zenwatch.signal(signal.SIGCONT)
    zenwatch.wait_for_stored(2)

    # The watch of our own records has a back-off of its own, and may start later than the watch of the reports.
    eventually(lambda: zenwatch.log("records_read_again"))
    assert [record["status"]["count"] for record in records(cluster, namespace)] == [1, 1]
    assert zenwatch.stop() == 0


@pytest.fixture
def without_trivy(cluster: ControlPlane, account: Identity) -> Iterator[str]:
    """The manifest of the kind that is removed; the end of the test installs it again."""
    manifest = cluster.kubectl("get", "crd", "vulnerabilityreports.aquasecurity.github.io", "-o", "json")
    cluster.kubectl("delete", "crd", "vulnerabilityreports.aquasecurity.github.io")
    kind = json.loads(manifest)
    kind["metadata"] = {"name": kind["metadata"]["name"]}
    kind.pop("status")
    yield json.dumps(kind)
    cluster.apply_crds(json.dumps(kind))


def test_a_tool_that_is_installed_later_is_watched(
    cluster: ControlPlane, without_trivy: str, namespace_without_reports: str, start_zenwatch: Start
) -> None:
    """A kind that is not served is no error, and zenwatch needs no restart when it is."""
    zenwatch = start_zenwatch()
    states = eventually(lambda: _states(zenwatch, f"vulnerabilityreports.{TRIVY}"))
    assert [line["state"] for line in states] == ["not_served"]
    cluster.apply_crds(without_trivy)
    apply(cluster, report_in(namespace_without_reports, a_vulnerability()))

    zenwatch.wait_for_stored(1)
    assert len(records(cluster, namespace_without_reports)) == 1


@pytest.fixture
def namespace_without_reports(cluster: ControlPlane) -> Iterator[str]:
    name = cluster.namespace()
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"KUBECONFIG": ""}, "No cluster was named. Use --kubeconfig FILE, --context NAME or the environment variable KUBECONFIG"),
        ({"WATCH_INTERVAL": "soon"}, "WATCH_INTERVAL is 'soon'; expected a duration such as 45s or 2m"),
        ({"KUBECONFIG": "/nowhere/config"}, "The kubeconfig /nowhere/config cannot be used"),
    ],
)
def test_a_start_with_wrong_settings_ends_with_2_and_a_sentence(settings: dict[str, str], sentence: str) -> None:
    """There is no stack trace, and nothing is written."""
    command = [sys.executable, "-m", "zenwatch", "run"]
    ended = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=False)

    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
