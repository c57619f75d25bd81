"""zenwatch/kube/lease.py: one process at a time works on a cluster; another one waits, says for whom, and takes over."""

import json
import signal
from collections.abc import Callable

import pytest

from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.client import get
from tests.support.live.objects import apply, records
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]

LEASE = ("lease", "zenwatch-local", "-n", "zenwatch")


def holder(cluster: ControlPlane) -> str:
    return str(json.loads(cluster.kubectl("get", *LEASE, "-o", "json"))["spec"].get("holderIdentity", ""))


def works(zenwatch: Zenwatch) -> bool:
    return bool(zenwatch.log("round_done"))


def test_a_second_process_waits_and_takes_over_when_the_first_stops(cluster: ControlPlane, namespace: str, start_zenwatch: Start) -> None:
    """It names the holder in its log and in /readyz, writes nothing, and begins as soon as the first has released the lease."""
    first = start_zenwatch(ALLOW_SECOND="false")
    eventually(lambda: works(first))
    second = start_zenwatch(ALLOW_SECOND="false")
    waiting = second.wait_for_log("lease_not_held")
    code, ready = get(f"{second.url}/readyz")
    first_code, _ = get(f"{first.url}/readyz")
    apply(cluster, report_in(namespace, a_vulnerability()))
    first.wait_for_stored(1)

    assert holder(cluster) in waiting["reason"]
    assert (code, first_code) == (503, 200)
    assert f"lease waits: {holder(cluster)} works on this cluster\n" in ready
    assert not works(second)

    assert first.stop() == 0
    eventually(lambda: works(second))
    eventually(lambda: get(f"{second.url}/readyz")[0] == 200)
    assert second.stop() == 0
    assert len(records(cluster, namespace)) == 1
    assert holder(cluster) == ""


def test_after_kill_9_the_next_process_begins_when_the_lease_has_run_out(start_zenwatch: Start) -> None:
    """Nobody has to delete anything. What is posted in the meantime is kept."""
    first = start_zenwatch(ALLOW_SECOND="false")
    eventually(lambda: works(first))
    first.signal(signal.SIGKILL)
    first.process.wait()
    second = start_zenwatch(ALLOW_SECOND="false")
    second.wait_for_log("lease_not_held")

    eventually(lambda: works(second), within_secs=60)


def test_who_knows_may_run_a_second_process(start_zenwatch: Start) -> None:
    """ALLOW_SECOND=true waits for nobody and takes no lease."""
    first = start_zenwatch(ALLOW_SECOND="false")
    eventually(lambda: works(first))
    second = start_zenwatch(ALLOW_SECOND="true")

    eventually(lambda: works(second))
    assert second.log("lease_not_held") == []
    first.stop()


def test_without_the_permission_it_works_with_a_warning(cluster: ControlPlane, start_zenwatch: Start) -> None:
    """The log names the missing rule once; an update from a build without the lease must not stop a process."""
    nobody = cluster.service_account("zenwatch", "nobody")
    zenwatch = start_zenwatch(identity=nobody, ALLOW_SECOND="false")
    zenwatch.wait_for_log("reports_state_changed")

    [warning] = zenwatch.log("lease_not_held")
    assert warning["reason"] == "missing permission: get leases.coordination.k8s.io in namespace zenwatch"
    assert warning["state"] == "works all the same"
