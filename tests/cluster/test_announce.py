"""From a critical finding to the Event that `kubectl describe` shows, under the shipped RBAC and deployments/events."""

import json
from collections.abc import Callable, Iterator

import pytest

from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.objects import apply
from tests.support.live.process import Zenwatch, eventually
from tests.support.paths import ROOT

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]
CRITICAL = a_vulnerability(severity="CRITICAL", score=9.8)


def events_of_nginx(cluster: ControlPlane, namespace: str) -> list[str]:
    """The lines of zenwatch below `Events:`."""
    _, _, events = cluster.kubectl("describe", "pod", "nginx", "-n", namespace).partition("\nEvents:")
    return [" ".join(line.split()) for line in events.splitlines() if " zenwatch " in line]


@pytest.fixture
def pod(cluster: ControlPlane, namespace: str) -> str:
    """Create the Pod nginx, which no kubelet ever starts; return its namespace."""
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nginx", "namespace": namespace}}
    spec = {"containers": [{"name": "web", "image": "nginx:1.21.0"}]}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(about | {"spec": spec}))
    return namespace


@pytest.fixture
def _may_make_events(cluster: ControlPlane, namespace: str) -> Iterator[None]:
    """Grant it for one test, because the other tests must work with deployments/base alone."""
    cluster.kubectl("apply", "-k", ROOT / "deployments" / "events")
    yield
    cluster.kubectl("delete", "-k", ROOT / "deployments" / "events")


@pytest.mark.usefixtures("_may_make_events")
def test_describe_shows_a_critical_finding_once_also_after_a_restart(cluster: ControlPlane, pod: str, start_zenwatch: Start) -> None:
    """A user looks there first when a Pod has a problem; less than critical findings are not shown there."""
    first = start_zenwatch(EMIT_EVENTS="true")
    apply(cluster, report_in(pod, CRITICAL, a_vulnerability(vulnerabilityID="CVE-2026-2", severity="HIGH")))
    first.wait_for_stored(2)
    [line] = eventually(lambda: events_of_nginx(cluster, pod))
    assert line.startswith("Warning CriticalFinding ")
    assert "CVE-2026-1 in zlib 1.2 (trivy, score " in line
    assert f"): Upgrade zlib to 1.3; record {pod}/trivy-vuln-" in line
    assert "(x" not in line
    assert first.stop() == 0

    second = start_zenwatch(EMIT_EVENTS="true")
    apply(cluster, report_in(pod, CRITICAL, a_vulnerability(vulnerabilityID="CVE-2026-3", severity="CRITICAL")))
    second.wait_for_stored(1)

    # The later Event is there, so an earlier one would be there as well.
    eventually(lambda: any("CVE-2026-3" in line for line in events_of_nginx(cluster, pod)))
    lines = events_of_nginx(cluster, pod)
    assert len(lines) == 2
    assert len([line for line in lines if "CVE-2026-1" in line]) == 1
    assert [line for zenwatch in (first, second) for line in zenwatch.log("permission_missing")] == []


def test_without_the_setting_nothing_is_announced(cluster: ControlPlane, pod: str, start_zenwatch: Start) -> None:
    """A user who did not ask for Events need not grant more than deployments/base."""
    zenwatch = start_zenwatch()
    apply(cluster, report_in(pod, CRITICAL))
    zenwatch.wait_for_stored(1)
    assert zenwatch.stop() == 0

    assert events_of_nginx(cluster, pod) == []
    assert zenwatch.log("permission_missing") == []


def test_without_the_rights_the_record_is_stored_and_the_log_names_the_missing_permission(
    cluster: ControlPlane, pod: str, start_zenwatch: Start
) -> None:
    """The log also names the file that grants it."""
    zenwatch = start_zenwatch(EMIT_EVENTS="true")
    apply(cluster, report_in(pod, CRITICAL))
    zenwatch.wait_for_stored(1)

    line = zenwatch.wait_for_log("permission_missing")
    assert line["error"] in (f"missing permission: {verb} in namespace {pod}" for verb in ("get pods", "create events"))
    assert "deployments/events/rbac.yaml" in line["reason"]
