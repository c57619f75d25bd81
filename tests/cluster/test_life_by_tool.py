"""What a life is where reports are not one per resource: rollouts, label sets, kinds that go away, and what is pushed."""

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from tests.cluster.test_push import ALERT, post
from tests.support import payloads
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.fakes.clock import MovedClock
from tests.support.fakes.findings import a_vulnerability
from tests.support.in_process import InProcess
from tests.support.objects import Json, a_workload, apply, create, life_of, owned_by, record_of, records, report_on
from tests.support.zenwatch_process import eventually
from zenwatch.model.timestamps import format_rfc3339

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]

# As in test_life.
JUST_WITHIN_SECS, JUST_BEYOND_SECS = 590.0, 601.0
OPEN, RETURNED = ("Open", "", 0), ("Open", "Reopened", 1)
FIXED, GONE = ("Resolved", "Fixed", 0), ("Resolved", "ReportGone", 0)


def await_life(cluster: ControlPlane, key: str, life: tuple[str, str, int]) -> Json:
    """Until the record of this key is there and this is its life."""
    return await_record(cluster, key, lambda record: life_of(record) == life)


def await_record(cluster: ControlPlane, key: str, is_so: Callable[[Json], bool]) -> Json:
    def look() -> Json:
        record = record_of(cluster, key)
        return record if record and is_so(record) else {}

    return eventually(look)


def await_count(cluster: ControlPlane, key: str, count: int) -> Json:
    return await_record(cluster, key, lambda record: bool(record["status"]["count"] == count))


# ---------------------------------------------------------------- a rollout


@pytest.fixture
def rollout(cluster: ControlPlane, namespace: str) -> "Rollout":
    return Rollout(cluster, namespace)


class Rollout:
    """A Deployment whose controller is the test."""

    def __init__(self, cluster: ControlPlane, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self.deployment = create(cluster, a_workload("Deployment", "web", namespace))

    def begin(self, name: str, *vulnerabilities: Json) -> Json:
        """A new ReplicaSet, and what the Trivy Operator says of it."""
        replica_set = create(self._cluster, a_workload("ReplicaSet", name, self._namespace, owner=self.deployment))
        apply(self._cluster, report_on(replica_set, *vulnerabilities))
        return replica_set

    def end(self, replica_set: Json) -> None:
        """Its report goes with it. The garbage collector takes up to half a minute for kinds of custom resources."""
        name = replica_set["metadata"]["name"]
        self._cluster.kubectl("delete", "vulnerabilityreports", f"replicaset-{name}-web", "-n", self._namespace)
        self._cluster.kubectl("delete", "replicaset", name, "-n", self._namespace)


def test_a_finding_outlives_the_rollout_that_does_not_fix_it(cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live) -> None:
    """It is the Deployment's: one record, which tells the ReplicaSets. Once a new image is without it, it is fixed."""
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


def test_a_rollout_that_begins_with_the_end_of_the_old_one_costs_no_resolution(
    cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live
) -> None:
    """Strategy Recreate: for a while there is no report of the Deployment at all."""
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


def test_not_grouped_by_owner_a_record_is_about_what_the_tool_names(
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


# ---------------------------------------------------------------- Kyverno


def policy_report_on(workload: Json, *results: Json, **changes: Any) -> Json:
    """As Kyverno writes it of a workload: named after its uid, and owned by it."""
    scope = {part: workload[part] for part in ("apiVersion", "kind")} | {part: workload["metadata"][part] for part in ("name", "namespace")}
    metadata = {"name": workload["metadata"]["uid"], "namespace": scope["namespace"], "ownerReferences": [owned_by(workload)]}
    return payloads.a_policy_report(*results, metadata=metadata, scope=scope, **changes)


def test_what_kyverno_says_of_a_deployment_and_of_its_pods_is_one_record(
    cluster: ControlPlane, namespace: str, rollout: Rollout, live: Live
) -> None:
    """Of the one it tells the rule that it made of the author's, of the others the author's. It is fixed when none is broken."""
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
    """label: of its ConfigMaps, and its name as a source. says: what it prints of one failed check. key: of the record of that check."""

    label: str
    says: Callable[[str], Json]
    key: str


SCANS = [
    Scan("kube-bench", lambda check: payloads.a_benchmark(payloads.a_test(test_number=check)), "{}"),
    Scan("checkov", lambda check: payloads.a_scan(payloads.a_failed_check(check_id=check)), "{}/Deployment.shop.catalog"),
]


@pytest.mark.parametrize("scan", SCANS, ids=lambda scan: scan.label)
def test_the_next_scan_says_what_the_last_one_found_no_longer(scan: Scan, cluster: ControlPlane, namespace: str, live: Live) -> None:
    """Each scan leaves a new ConfigMap, and the old one goes: what only that one held is fixed; with the last one all is gone."""
    zenwatch, label = live(), scan.label
    # Of this test alone: such a key names no namespace.
    checks = [f"1-{namespace}", f"2-{namespace}"]
    first, second = (scan.key.format(check) for check in checks)
    try:
        for day, check, key in zip(("monday", "tuesday"), checks, (first, second), strict=True):
            apply(cluster, a_config_map(namespace, day, label, scan.says(check)))
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


# ---------------------------------------------------------------- a kind that goes away

REPORTS = "reports.openreports.io"


@pytest.fixture
def openreports(cluster: ControlPlane, account: Identity) -> Iterator[str]:
    """The manifest of a kind that the test may take away; it is served again after the test."""
    kind = json.loads(cluster.kubectl("get", "crd", REPORTS, "-o", "json"))
    manifest = json.dumps({part: kind[part] for part in ("apiVersion", "kind", "spec")} | {"metadata": {"name": REPORTS}})
    yield manifest
    cluster.apply_crds(manifest)


def test_what_a_kind_held_that_is_served_no_more_is_gone_after_the_grace(
    cluster: ControlPlane, namespace: str, openreports: str, live: Live
) -> None:
    """A tool that is installed anew brings its kinds back: within the grace nothing happened, after it the records are open again."""
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


# ---------------------------------------------------------------- what is pushed

HOUR_SECS = 3600.0


class Falco:
    """Posts alerts of a namespace's own, so that no record of another test is theirs."""

    def __init__(self, zenwatch: InProcess, namespace: str) -> None:
        self._zenwatch = zenwatch
        self._namespace = namespace

    def alert(self, rule: str, *, at_secs: float = 0.0) -> str:
        """Seen now on the moved clock, or so much later. Return the key of its record."""
        rule = f"{rule} of {self._namespace}"
        fields = {**ALERT["output_fields"], "k8s.ns.name": self._namespace}
        time = format_rfc3339(self._zenwatch.clock.now() + timedelta(seconds=at_secs))
        body = ALERT | {"rule": rule, "time": time, "output": "A shell was spawned", "output_fields": fields}
        status, said = post(f"{self._zenwatch.url}/falco/webhook", body)
        assert status == 200, said
        return f"{rule}/web/A shell was spawned"


def test_an_alert_that_nobody_repeats_is_resolved_as_quiet(
    cluster: ControlPlane, namespace: str, live: Live, moved_clock: MovedClock
) -> None:
    """FALCO_RESOLVE_AFTER after the last sighting, not after the first. The next one opens it again and is counted on."""
    falco = Falco(live(), namespace)
    once, again = falco.alert("once"), falco.alert("again")
    await_count(cluster, once, 1)
    await_count(cluster, again, 1)
    moved_clock.advance(secs=20 * HOUR_SECS)
    falco.alert("again")
    await_count(cluster, again, 2)

    moved_clock.advance(secs=5 * HOUR_SECS)
    quiet = await_life(cluster, once, ("Resolved", "NotSeenAgain", 0))
    assert life_of(record_of(cluster, again)) == OPEN
    assert quiet["status"]["lastSeen"] == quiet["metadata"]["creationTimestamp"]
    assert quiet["status"]["resolvedAt"] > quiet["status"]["lastSeen"]

    falco.alert("once")
    back = await_life(cluster, once, RETURNED)
    assert back["status"]["count"] == 2
    assert back["metadata"]["uid"] == quiet["metadata"]["uid"]
    assert "resolvedAt" not in back["status"]


def test_a_repeat_after_the_window_counts_as_having_come_back(
    cluster: ControlPlane, namespace: str, live: Live, moved_clock: MovedClock
) -> None:
    """DEDUP_WINDOW=1h: from one sighting to the next, also over a restart. Within it a repeat is a repeat."""
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
