"""Records of tools that do not have one report per resource: rollouts, label sets, kinds that are removed, and pushed events."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from tests.support import payloads
from tests.support.builders.posted import ALERT
from tests.support.builders.vulnerability_reports import a_vulnerability, report_on
from tests.support.builders.workloads import a_workload, owned_by
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.fakes.clock import MovedClock
from tests.support.live.client import post
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, create, life_of, record_of, records
from tests.support.live.process import eventually
from zenwatch.model.timestamps import format_rfc3339

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]

# RESOLVE_GRACE is 10m, as in test_life.py.
JUST_WITHIN_SECS, JUST_BEYOND_SECS = 590.0, 601.0
OPEN, RETURNED = ("Open", "", 0), ("Open", "Reopened", 1)
FIXED, GONE = ("Resolved", "Fixed", 0), ("Resolved", "ReportGone", 0)


def await_life(cluster: ControlPlane, key: str, life: tuple[str, str, int]) -> Json:
    """Wait until the record of this key has this phase, reason and number of reopenings; return it."""
    return await_record(cluster, key, lambda record: life_of(record) == life)


def await_record(cluster: ControlPlane, key: str, is_so: Callable[[Json], bool]) -> Json:
    def wanted() -> Json:
        record = record_of(cluster, key)
        return record if record and is_so(record) else {}

    return eventually(wanted)


def await_count(cluster: ControlPlane, key: str, count: int) -> Json:
    return await_record(cluster, key, lambda record: bool(record["status"]["count"] == count))


# ---------------------------------------------------------------- a rollout


@pytest.fixture
def rollout(cluster: ControlPlane, namespace: str) -> "Rollout":
    return Rollout(cluster, namespace)


class Rollout:
    """A Deployment; the test acts as its controller."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.deployment = create(cluster, a_workload("Deployment", "web", namespace))

    def begin(self, name: str, *vulnerabilities: Json) -> Json:
        """Create a ReplicaSet and its report of the Trivy Operator."""
        replica_set = create(self._cluster, a_workload("ReplicaSet", name, self._namespace, owner=self.deployment))
        apply(self._cluster, report_on(replica_set, *vulnerabilities))
        return replica_set

    def end(self, replica_set: Json) -> None:
        """Delete it with its report; the garbage collector needs up to half a minute for custom resources."""
        name = replica_set["metadata"]["name"]
        self._cluster.kubectl("delete", "vulnerabilityreports", f"replicaset-{name}-web", "-n", self._namespace)
        self._cluster.kubectl("delete", "replicaset", name, "-n", self._namespace)


def test_a_finding_stays_open_over_a_rollout_without_its_fix(cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live) -> None:
    """The Deployment has one record, which lists the ReplicaSets. It is fixed when a new image is without the finding."""
    zenwatch = live()
    key = f"{namespace}/Deployment/web/CVE-2026-1"
    first = rollout.begin("web-1", a_vulnerability())
    found = await_life(cluster, key, OPEN)
    assert found["spec"]["resource"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "namespace": namespace}
    assert found["spec"]["details"]["resources"] == ["ReplicaSet/web-1"]

    second = rollout.begin("web-2", a_vulnerability())
    eventually(lambda: record_of(cluster, key)["spec"]["details"]["resources"] == ["ReplicaSet/web-1", "ReplicaSet/web-2"])
    with zenwatch.sees(-1):
        rollout.end(first)
    zenwatch.advance(JUST_BEYOND_SECS)
    [same] = records(cluster, namespace)
    assert life_of(same) == OPEN
    assert same["metadata"]["uid"] == found["metadata"]["uid"]
    assert same["status"]["firstSeen"] == found["metadata"]["creationTimestamp"]
    assert same["spec"]["details"]["resources"] == ["ReplicaSet/web-2"]

    with zenwatch.sees(1):
        rollout.begin("web-3")
    with zenwatch.sees(-1):
        rollout.end(second)
    zenwatch.advance(JUST_WITHIN_SECS)
    assert life_of(record_of(cluster, key)) == OPEN
    zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS)
    [fixed] = records(cluster, namespace)
    assert life_of(fixed) == FIXED
    assert fixed["metadata"]["uid"] == found["metadata"]["uid"]


def test_a_rollout_that_deletes_the_old_pods_first_resolves_nothing(
    cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live
) -> None:
    """Strategy Recreate: for a while the Deployment has no report."""
    zenwatch = live()
    first = rollout.begin("web-1", a_vulnerability())
    await_life(cluster, f"{namespace}/Deployment/web/CVE-2026-1", OPEN)

    with zenwatch.sees(-1):
        rollout.end(first)
    zenwatch.advance(JUST_WITHIN_SECS)
    with zenwatch.sees(1):
        rollout.begin("web-2", a_vulnerability())
    zenwatch.advance(JUST_BEYOND_SECS)

    assert [life_of(record) for record in records(cluster, namespace)] == [OPEN]


def test_without_grouping_by_owner_a_record_is_about_the_resource_of_the_report(
    cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live
) -> None:
    """GROUP_BY_OWNER=false: each ReplicaSet has records of its own, and a rollout resolves the old ones."""
    zenwatch = live(GROUP_BY_OWNER="false")
    first = rollout.begin("web-1", a_vulnerability())
    await_life(cluster, f"{namespace}/ReplicaSet/web-1/CVE-2026-1", OPEN)
    rollout.begin("web-2", a_vulnerability())
    await_life(cluster, f"{namespace}/ReplicaSet/web-2/CVE-2026-1", OPEN)

    with zenwatch.sees(-1):
        rollout.end(first)
    zenwatch.advance(JUST_BEYOND_SECS)

    assert life_of(record_of(cluster, f"{namespace}/ReplicaSet/web-1/CVE-2026-1")) == GONE
    assert life_of(record_of(cluster, f"{namespace}/ReplicaSet/web-2/CVE-2026-1")) == OPEN


def test_a_switch_of_grouping_by_owner_regroups_the_records(cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live) -> None:
    """In both directions: the report is still there, and its finding has a record under another key."""
    of_replica_set, of_deployment = f"{namespace}/ReplicaSet/web-1/CVE-2026-1", f"{namespace}/Deployment/web/CVE-2026-1"
    live(GROUP_BY_OWNER="false")
    rollout.begin("web-1", a_vulnerability())
    await_life(cluster, of_replica_set, OPEN)

    live()
    await_life(cluster, of_deployment, OPEN)
    await_life(cluster, of_replica_set, ("Resolved", "Regrouped", 0))
    live(GROUP_BY_OWNER="false")
    await_life(cluster, of_replica_set, ("Open", "Reopened", 1))
    await_life(cluster, of_deployment, ("Resolved", "Regrouped", 0))


# ---------------------------------------------------------------- Kyverno


def policy_report_on(workload: Json, *results: Json, **changes: Any) -> Json:
    """The report that Kyverno writes about a workload: named after its uid, and owned by it."""
    scope = {part: workload[part] for part in ("apiVersion", "kind")} | {part: workload["metadata"][part] for part in ("name", "namespace")}
    metadata = {"name": workload["metadata"]["uid"], "namespace": scope["namespace"], "ownerReferences": [owned_by(workload)]}
    return payloads.a_policy_report(*results, metadata=metadata, scope=scope, **changes)


def test_the_reports_of_kyverno_about_a_deployment_and_its_pods_are_one_record(
    cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live
) -> None:
    """The report of the Deployment names the rule that Kyverno generated, those of the Pods the author's rule. The record is fixed when
    no report has it any more.
    """
    live()
    key = f"{namespace}/Deployment/web/require-labels/check-team"
    replica_set = rollout.begin("web-1")
    pod = create(cluster, a_workload("Pod", "web-1-x", namespace, owner=replica_set))
    of_deployment = policy_report_on(rollout.deployment, payloads.a_result(rule="autogen-check-team"))
    of_pod = policy_report_on(pod, payloads.a_result())
    apply(cluster, of_deployment, of_pod)

    record = await_count(cluster, key, 2)
    assert (record["spec"]["details"]["rule"], record["spec"]["details"]["resources"]) == ("check-team", ["Pod/web-1-x"])
    assert [life_of(record) for record in records(cluster, namespace)] == [OPEN]

    apply(cluster, {**of_deployment, "results": []})
    eventually(lambda: record_of(cluster, key)["status"]["count"] == 1)
    assert life_of(record_of(cluster, key)) == OPEN
    apply(cluster, {**of_pod, "results": []})
    await_life(cluster, key, FIXED)


# ---------------------------------------------------------------- ConfigMaps: a label set is one snapshot


def a_config_map(namespace: str, name: str, label: str, document: Json) -> Json:
    return payloads.a_config_map({"results.json": document}, metadata={"name": name, "namespace": namespace, "labels": {"app": label}})


class Scan(NamedTuple):
    """label: of its ConfigMaps, and the name of the source. prints: the output for one failed check. key: of the record of that check."""

    label: str
    prints: Callable[[str], Json]
    key: str


SCANS = [
    Scan("kube-bench", lambda check: payloads.a_benchmark(payloads.a_test(test_number=check)), "{}"),
    Scan("checkov", lambda check: payloads.a_scan(payloads.a_failed_check(check_id=check)), "{}/Deployment.shop.catalog"),
]


@pytest.mark.parametrize("scan", SCANS, ids=lambda scan: scan.label)
def test_a_new_scan_shows_what_is_fixed_since_the_last_one(scan: Scan, cluster: ControlPlane, namespace: str, live: Live) -> None:
    """Each scan writes a new ConfigMap, and the old one is deleted: what only the old one had is fixed. Without any ConfigMap, the report
    is gone.
    """
    zenwatch, label = live(), scan.label
    # Checks of this test alone, because the key of a check names no namespace.
    checks = [f"1-{namespace}", f"2-{namespace}"]
    first, second = (scan.key.format(check) for check in checks)
    try:
        for day, check, key in zip(("monday", "tuesday"), checks, (first, second), strict=True):
            apply(cluster, a_config_map(namespace, day, label, scan.prints(check)))
            await_life(cluster, key, OPEN)
        with zenwatch.sees(-1, source=label):
            cluster.kubectl("delete", "configmap", "monday", "-n", namespace)
        zenwatch.advance(JUST_WITHIN_SECS, source=label)
        assert life_of(record_of(cluster, first)) == OPEN
        zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS, source=label)
        assert life_of(record_of(cluster, first)) == FIXED

        with zenwatch.sees(-1, source=label):
            cluster.kubectl("delete", "configmap", "tuesday", "-n", namespace)
        zenwatch.advance(JUST_WITHIN_SECS, source=label)
        assert life_of(record_of(cluster, second)) == OPEN
        zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS, source=label)
        assert life_of(record_of(cluster, second)) == GONE
    finally:
        zenwatch.stop()
        cluster.kubectl("delete", "configmaps", "-l", f"app={label}", "-n", namespace)
        for record in filter(None, (record_of(cluster, first), record_of(cluster, second))):
            cluster.kubectl("delete", "zae", record["metadata"]["name"], "-n", record["metadata"]["namespace"], "--wait=false")


# ---------------------------------------------------------------- a kind that is removed

REPORTS = "reports.openreports.io"


@pytest.fixture
def openreports(cluster: ControlPlane, account: Identity) -> Iterator[str]:
    """The manifest of a kind that the test may remove; the end of the test installs it again."""
    kind = json.loads(cluster.kubectl("get", "crd", REPORTS, "-o", "json"))
    manifest = json.dumps({part: kind[part] for part in ("apiVersion", "kind", "spec")} | {"metadata": {"name": REPORTS}})
    yield manifest
    cluster.apply_crds(manifest)


def test_the_reports_of_a_kind_that_is_removed_are_gone_after_the_grace(
    cluster: ControlPlane, namespace: str, openreports: str, live: Live
) -> None:
    """A tool that is installed again brings its kinds back. Within the grace nothing happens, after it the records are open again."""
    zenwatch = live()
    key = f"{namespace}/Pod/nginx/require-labels/check-team"
    scope = {"apiVersion": "v1", "kind": "Pod", "name": "nginx", "namespace": namespace}
    metadata = {"name": "nginx", "namespace": namespace, "ownerReferences": None}
    report = payloads.a_policy_report(payloads.a_result(), metadata=metadata, scope=scope) | {
        "apiVersion": "openreports.io/v1alpha1",
        "kind": "Report",
    }

    def reinstall() -> None:
        cluster.apply_crds(openreports)
        apply(cluster, report)

    def uninstall() -> None:
        with zenwatch.sees(-1, source="kyverno"):
            cluster.kubectl("delete", "crd", REPORTS)
        zenwatch.wait_for_state(REPORTS, "not_served")
        zenwatch.advance(JUST_WITHIN_SECS, source="kyverno")
        assert life_of(record_of(cluster, key)) == OPEN

    apply(cluster, report)
    await_life(cluster, key, OPEN)

    uninstall()
    with zenwatch.sees(1, source="kyverno"):
        reinstall()
    zenwatch.advance(JUST_BEYOND_SECS, source="kyverno")
    assert life_of(record_of(cluster, key)) == OPEN
    uninstall()
    zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS, source="kyverno")
    assert life_of(record_of(cluster, key)) == GONE
    reinstall()
    await_life(cluster, key, RETURNED)


# ---------------------------------------------------------------- pushed alerts

HOUR_SECS = 3600.0


class Falco:
    """Posts alerts whose rules name the namespace, so that no other test has the same records."""

    def __init__(self, zenwatch: InProcess, namespace: str) -> None:
        self._zenwatch = zenwatch
        self._namespace = namespace

    def alert(self, rule: str, *, at_secs: float = 0.0) -> str:
        """Post an alert with the time of the moved clock, or later. Return the key of its record."""
        rule = f"{rule} of {self._namespace}"
        fields = {**ALERT["output_fields"], "k8s.ns.name": self._namespace}
        time = format_rfc3339(self._zenwatch.clock.now() + timedelta(seconds=at_secs))
        body = ALERT | {"rule": rule, "time": time, "output": "A shell was spawned", "output_fields": fields}
        status, text = post(f"{self._zenwatch.url}/falco/webhook", body)
        assert status == 200, text
        return f"{rule}/web/A shell was spawned"


def test_an_alert_that_is_not_seen_again_is_resolved(cluster: ControlPlane, namespace: str, live: Live, moved_clock: MovedClock) -> None:
    """FALCO_RESOLVE_AFTER counts from the last sighting, not from the first. The next sighting opens the record again and counts on."""
    falco = Falco(live(), namespace)
    once, again = falco.alert("once"), falco.alert("again")
    await_count(cluster, once, 1)
    await_count(cluster, again, 1)
    moved_clock.advance(secs=20 * HOUR_SECS)
    falco.alert("again")
    await_count(cluster, again, 2)

    moved_clock.advance(secs=5 * HOUR_SECS)
    resolved = await_life(cluster, once, ("Resolved", "NotSeenAgain", 0))
    assert life_of(record_of(cluster, again)) == OPEN
    assert resolved["status"]["lastSeen"] == resolved["metadata"]["creationTimestamp"]
    assert resolved["status"]["resolvedAt"] > resolved["status"]["lastSeen"]

    falco.alert("once")
    back = await_life(cluster, once, RETURNED)
    assert back["status"]["count"] == 2
    assert back["metadata"]["uid"] == resolved["metadata"]["uid"]
    assert "resolvedAt" not in back["status"]


def test_a_repeat_after_the_window_reopens_its_record(cluster: ControlPlane, namespace: str, live: Live, moved_clock: MovedClock) -> None:
    """DEDUP_WINDOW=1h: from one sighting to the next, also over a restart. Within it, a repeat only counts."""
    falco = Falco(live(DEDUP_WINDOW="1h"), namespace)
    key = falco.alert("window")
    await_count(cluster, key, 1)

    for count in (2, 3):
        moved_clock.advance(secs=0.9 * HOUR_SECS)
        falco.alert("window")
        await_count(cluster, key, count)
    assert life_of(record_of(cluster, key)) == OPEN
    moved_clock.advance(secs=2 * HOUR_SECS)
    falco.alert("window")
    await_life(cluster, key, RETURNED)

    falco = Falco(live(DEDUP_WINDOW="1h"), namespace)
    moved_clock.advance(secs=2 * HOUR_SECS)
    falco.alert("window")
    record = await_life(cluster, key, ("Open", "Reopened", 2))
    assert record["status"]["count"] == 5
