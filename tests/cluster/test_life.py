"""A record follows its report, which changes, is deleted, returns, or cannot be read: real objects, and a clock that the test moves."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity, kubeconfig_text
from tests.support.fakes.clock import MovedClock
from tests.support.faults.fault_proxy import FaultProxy
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, life_of, records, writes
from tests.support.live.process import eventually
from tests.support.live.rights import Rights

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]

# RESOLVE_GRACE is 10m. The moved clock also runs by itself, so each test keeps some seconds of distance from the end of the grace.
JUST_WITHIN_SECS, JUST_BEYOND_SECS = 590.0, 601.0
FAR_BEYOND_SECS = 7200.0
TRIVY = "vulnerabilityreports.aquasecurity.github.io"
OPEN, RETURNED = ("Open", "", 0), ("Open", "Reopened", 1)
FIXED, GONE, BELOW = ("Resolved", "Fixed", 0), ("Resolved", "ReportGone", 0), ("Resolved", "BelowThreshold", 0)
OTHER = a_vulnerability(vulnerabilityID="CVE-2026-2")


def record_in(cluster: ControlPlane, namespace: str, vuln_id: str = "CVE-2026-1") -> Json:
    """The record of the Pod nginx there; empty: there is none."""
    return next((record for record in records(cluster, namespace) if record["spec"]["details"]["vulnID"] == vuln_id), {})


def life_in(cluster: ControlPlane, namespace: str) -> tuple[str, str, int]:
    return life_of(record_in(cluster, namespace))


def await_life(cluster: ControlPlane, namespace: str, life: tuple[str, str, int]) -> Json:
    """Wait until the record is there with this phase, reason and number of reopenings; return it."""

    def wanted() -> Json:
        record = record_in(cluster, namespace)
        return record if life_of(record) == life else {}

    return eventually(wanted)


def delete_report(cluster: ControlPlane, namespace: str, name: str = "pod-nginx") -> None:
    cluster.kubectl("delete", TRIVY, name, "-n", namespace)


def about_another(namespace: str) -> dict[str, str]:
    """The labels of a report of the Pod redis."""
    pod = {"kind": "Pod", "name": "redis", "namespace": namespace}
    return {f"trivy-operator.resource.{part}": value for part, value in pod.items()}


# ---------------------------------------------------------------- fixed and reopened


def test_a_finding_that_its_report_no_longer_has_is_resolved_at_once(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """The whole report was read, so no grace is needed. If the finding returns, the same record is open again and counts it."""
    live()
    apply(cluster, report_in(namespace, a_vulnerability(), OTHER))
    found = await_life(cluster, namespace, OPEN)

    apply(cluster, report_in(namespace, OTHER))
    fixed = await_life(cluster, namespace, FIXED)
    apply(cluster, report_in(namespace, a_vulnerability(), OTHER))
    returned = await_life(cluster, namespace, RETURNED)

    assert fixed["status"]["resolvedAt"] >= fixed["status"]["firstSeen"] == found["metadata"]["creationTimestamp"]
    assert "resolvedAt" not in returned["status"]
    assert returned["metadata"]["uid"] == found["metadata"]["uid"]
    assert returned["status"]["firstSeen"] == fixed["status"]["firstSeen"]
    assert life_of(record_in(cluster, namespace, "CVE-2026-2")) == OPEN
    assert writes(cluster, namespace) == ["create", "create", "patch status", "patch status"]


# ---------------------------------------------------------------- deleted reports


def test_a_deleted_report_resolves_only_after_the_grace(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """It may return, because the Trivy Operator deletes each report once a day. If it returns later, its records are open again."""
    zenwatch = live()
    apply(cluster, report_in(namespace, a_vulnerability()))
    await_life(cluster, namespace, OPEN)
    with zenwatch.sees(-1):
        delete_report(cluster, namespace)

    zenwatch.advance(JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == OPEN
    zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == GONE
    assert record_in(cluster, namespace)["status"]["resolvedAt"]

    apply(cluster, report_in(namespace, a_vulnerability()))
    await_life(cluster, namespace, RETURNED)


def test_a_report_that_returns_within_the_grace_costs_no_write(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """Under its own name or under another one, and however long it stays then."""
    zenwatch = live()
    apply(cluster, report_in(namespace, a_vulnerability()))
    await_life(cluster, namespace, OPEN)

    for name in ("pod-nginx", "pod-nginx-renamed"):
        with zenwatch.sees(-1):
            cluster.kubectl("delete", TRIVY, "--all", "-n", namespace)
        zenwatch.advance(JUST_WITHIN_SECS)
        with zenwatch.sees(1):
            apply(cluster, report_in(namespace, a_vulnerability(), name=name, report={"updateTimestamp": "2026-01-02T10:00:00Z"}))
        zenwatch.advance(FAR_BEYOND_SECS)

    assert writes(cluster, namespace) == ["create"]
    assert life_in(cluster, namespace) == OPEN


# ---------------------------------------------------------------- the threshold


def test_a_raised_threshold_resolves_what_it_excludes(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """At the restart with the new setting. If the threshold is lowered again, the same records are open again."""
    live()
    critical = a_vulnerability(vulnerabilityID="CVE-2026-2", severity="CRITICAL")
    apply(cluster, report_in(namespace, a_vulnerability(), critical))
    await_life(cluster, namespace, OPEN)

    live(TRIVY_MIN_SEVERITY="CRITICAL")
    assert life_in(cluster, namespace) == BELOW
    assert life_of(record_in(cluster, namespace, "CVE-2026-2")) == OPEN
    live()
    assert life_in(cluster, namespace) == RETURNED


def test_a_severity_that_the_tool_lowers_below_the_threshold_resolves_its_record(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """The report still has it, so it is not fixed. If the severity rises again, the record is open again."""
    live()
    apply(cluster, report_in(namespace, a_vulnerability()))
    await_life(cluster, namespace, OPEN)

    apply(cluster, report_in(namespace, a_vulnerability(severity="LOW")))
    await_life(cluster, namespace, BELOW)
    apply(cluster, report_in(namespace, a_vulnerability()))
    await_life(cluster, namespace, RETURNED)


# ---------------------------------------------------------------- unreadable reports and kinds


@pytest.fixture
def rights(cluster: ControlPlane, account: Identity, namespace: str) -> Iterator[Rights]:
    """An account of this test alone, with the shipped rules."""
    with Rights(cluster, f"life-{namespace}") as rights:
        yield rights


@pytest.fixture
def guarded(proxy: FaultProxy, rights: Rights, moved_clock: MovedClock, tmp_path: Path) -> Iterator[InProcess]:
    """A process that is not started yet. It reaches the API server through the proxy, with the rights that the test leaves it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(kubeconfig_text(rights.identity, server=proxy.url, ca_pem=b""))
    zenwatch = InProcess(kubeconfig, moved_clock, {})
    yield zenwatch
    zenwatch.stop()


def test_nothing_is_resolved_while_the_kind_cannot_be_read(
    cluster: ControlPlane, namespace: str, proxy: FaultProxy, rights: Rights, guarded: InProcess
) -> None:
    """However long that lasts. The grace starts when the kind is readable again, because nobody knows when a report was deleted."""
    apply(cluster, report_in(namespace, a_vulnerability()))
    guarded.start()
    assert life_in(cluster, namespace) == OPEN
    # An open watch goes on without the permission to watch, so it has to end first.
    proxy.is_away = True
    delete_report(cluster, namespace)
    guarded.wait_for_log("watch_interrupted", resource=TRIVY)
    rights.revoke("vulnerabilityreports")
    proxy.is_away = False
    guarded.wait_for_state(TRIVY, "forbidden")
    guarded.advance(FAR_BEYOND_SECS)
    assert life_in(cluster, namespace) == OPEN

    rights.grant()
    guarded.wait_for_state(TRIVY, "followed")
    guarded.advance(JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == OPEN
    guarded.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == GONE


def test_nothing_is_resolved_after_a_start_that_may_not_read(
    cluster: ControlPlane, namespace: str, rights: Rights, guarded: InProcess, live: Live
) -> None:
    """The records do not change until the kind was read."""
    apply(cluster, report_in(namespace, a_vulnerability()))
    live().stop()
    delete_report(cluster, namespace)
    rights.revoke("vulnerabilityreports")
    guarded.start()
    guarded.advance(FAR_BEYOND_SECS)
    assert life_in(cluster, namespace) == OPEN

    rights.grant()
    guarded.wait_for_state(TRIVY, "followed")
    guarded.wait_for_rounds()
    assert life_in(cluster, namespace) == OPEN
    guarded.advance(JUST_BEYOND_SECS)
    assert life_in(cluster, namespace) == GONE


UNREADABLE = {"severity": "HIGH"}


def test_a_report_that_becomes_unreadable_resolves_nothing(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """Its last findings count until it is readable again, also after a restart, although the new process does not know them."""
    zenwatch = live()
    apply(cluster, report_in(namespace, a_vulnerability(), OTHER))
    await_life(cluster, namespace, OPEN)
    apply(cluster, report_in(namespace, UNREADABLE))
    zenwatch.wait_for_log("report_rejected")
    zenwatch.advance(FAR_BEYOND_SECS)
    assert life_in(cluster, namespace) == OPEN

    zenwatch = live()
    zenwatch.advance(FAR_BEYOND_SECS)
    assert life_in(cluster, namespace) == OPEN
    apply(cluster, report_in(namespace, OTHER))
    await_life(cluster, namespace, FIXED)
    assert life_of(record_in(cluster, namespace, "CVE-2026-2")) == OPEN


def test_an_unreadable_report_that_is_deleted_resolves_after_the_grace(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """Also if it was not readable since the start: it is certainly gone, whatever its findings were."""
    live()
    apply(cluster, report_in(namespace, a_vulnerability()))
    await_life(cluster, namespace, OPEN)
    apply(cluster, report_in(namespace, UNREADABLE))
    zenwatch = live()
    zenwatch.advance(FAR_BEYOND_SECS)
    delete_report(cluster, namespace)
    # The cache has no unreadable report, so no metric shows that its deletion was seen; a report that comes after it does.
    with zenwatch.sees(1):
        apply(cluster, report_in(namespace, OTHER, name="seen-later", labels=about_another(namespace)))

    zenwatch.advance(JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == OPEN
    zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == GONE


# ---------------------------------------------------------------- while zenwatch was away


def test_what_was_fixed_while_zenwatch_was_away_is_resolved_at_its_start(cluster: ControlPlane, namespace: str, live: Live) -> None:
    """The report is there and was read, so no grace is needed."""
    apply(cluster, report_in(namespace, a_vulnerability(), OTHER))
    live().stop()
    apply(cluster, report_in(namespace, OTHER))

    live()

    assert life_in(cluster, namespace) == FIXED
    assert life_of(record_in(cluster, namespace, "CVE-2026-2")) == OPEN


def test_what_was_deleted_while_zenwatch_was_away_has_its_grace_from_the_start(
    cluster: ControlPlane, namespace: str, live: Live, moved_clock: MovedClock
) -> None:
    """Nobody knows when it was deleted; the Trivy Operator may have done it just before the restart."""
    apply(cluster, report_in(namespace, a_vulnerability()))
    live().stop()
    delete_report(cluster, namespace)
    moved_clock.advance(secs=FAR_BEYOND_SECS)

    zenwatch = live()

    assert life_in(cluster, namespace) == OPEN
    zenwatch.advance(JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == OPEN
    zenwatch.advance(JUST_BEYOND_SECS - JUST_WITHIN_SECS)
    assert life_in(cluster, namespace) == GONE
