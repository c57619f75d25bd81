"""What people do to records by hand: each edit that the API server accepts is mended, or left where that is the person's right."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.support.builders.posted import an_alert_in
from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.faults.edits import Edit, edits
from tests.support.live.client import post
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, remove_records, writes
from tests.support.live.process import eventually
from zenwatch.errors import Invalid, NotFound
from zenwatch.kube import access
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.kube.kinds import RECORDS
from zenwatch.kube.records import labels_of
from zenwatch.store.mending import MEND_EVERY_SECS

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]
COMPLAINTS = ("task_failed", "task_restarts", "round_failed", "record_not_written", "dead_letter", "status_refused", "labels_not_restored")
LABELS = tuple(labels_of("", "", "", ""))
RUNNING, STOPPED = "while zenwatch runs", "while it does not run"


@pytest.fixture
def own(cluster: ControlPlane, namespace: str) -> Iterator[dict[str, str]]:
    """Settings with which zenwatch sees neither reports nor records of other tests."""
    yield {"CLUSTER_ID": namespace, "WATCH_NAMESPACE": namespace}
    remove_records(cluster, namespace)


def edit_by_hand(cluster: ControlPlane, chosen: Mapping[str, Edit], namespace: str) -> list[str]:
    """Edit the record of each name, as the admin. Return the names of those whose edit the API server accepts."""

    async def send() -> list[str]:
        client = KubeClient(access.from_kubeconfig(str(cluster.kubeconfig()), None), timeout_secs=10, connections=8)
        accepted = []
        try:
            for name, edit in chosen.items():
                call = Call("patch", RECORDS, namespace, name, *(["status"] if edit.is_of_status else []))
                try:
                    await client.send(call, body=list(edit.operations), content_type="application/json-patch+json")
                except (Invalid, NotFound):
                    continue
                accepted.append(name)
        finally:
            await client.close()
        return accepted

    return asyncio.run(send())


def as_written(record: Json) -> Json:
    """What zenwatch answers for."""
    metadata, status = record["metadata"], record["status"]
    labels = {name: metadata.get("labels", {}).get(name) for name in LABELS}
    annotations = {name: text for name, text in metadata.get("annotations", {}).items() if not name.endswith("/ttl")}
    spec = {field: value for field, value in record["spec"].items() if field != "detectedAt"}
    return {"labels": labels, "annotations": annotations, "spec": spec, "phase": status["phase"], "count": status["count"]}


def by_name(cluster: ControlPlane, namespace: str) -> dict[str, Json]:
    """All records there, also those that have no labels or no resource any more."""
    found = json.loads(cluster.kubectl("get", "zae", "-n", namespace, "-o", "json"))["items"]
    return {record["metadata"]["name"]: record for record in found}


@pytest.mark.parametrize("when", [RUNNING, STOPPED])
def test_every_edit_of_a_record_is_mended_while_its_finding_is_reported(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live, when: str
) -> None:
    """By the next round, or by the first one after a restart; each record with one write of its spec and one of its status at most.

    What only the record itself remembers stays as it was edited, and so does the phase Suppressed.
    """
    every = edits()
    zenwatch = live(**own)
    apply(cluster, report_in(namespace, *(a_vulnerability(vulnerabilityID=f"CVE-2026-{number}") for number in range(len(every)))))
    eventually(lambda: len(by_name(cluster, namespace)) == len(every))
    zenwatch.wait_for_rounds()
    before = {name: as_written(record) for name, record in by_name(cluster, namespace).items()}
    created = len(writes(cluster, namespace))
    if when == STOPPED:
        zenwatch.stop()

    chosen = dict(zip(before, every, strict=True))
    accepted = edit_by_hand(cluster, chosen, namespace)
    if when == STOPPED:
        zenwatch = live(**own)

    def unmended() -> dict[str, str]:
        now = by_name(cluster, namespace)
        return {name: str(chosen[name]) for name in accepted if not chosen[name].is_kept and as_written(now[name]) != before[name]}

    # A reference to another report looks like any other. Only who sees the change knows that a person wrote it.
    unknowable = {name for name in accepted if when == STOPPED and str(chosen[name]).endswith("'a/b/c'")}
    zenwatch.wait_for_rounds()
    zenwatch.wait_for_rounds()
    assert unmended().keys() <= unknowable, unmended()
    suppressed = [name for name in accepted if chosen[name].is_kept and chosen[name].path == "/status/phase"]
    assert {by_name(cluster, namespace)[name]["status"]["phase"] for name in suppressed} == {"Suppressed"}
    assert len(accepted) > len(every) // 3
    assert len(writes(cluster, namespace)) - created <= 2 * len(accepted)
    assert [zenwatch.log(complaint) for complaint in COMPLAINTS] == [[]] * len(COMPLAINTS)

    apply(cluster, report_in(namespace))
    open_phases = {"Open", "Suppressed"}
    eventually(lambda: not [record for record in by_name(cluster, namespace).values() if record["status"]["phase"] in open_phases])


def test_a_resolved_record_that_somebody_opens_is_resolved_again(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live
) -> None:
    """No report holds its finding."""
    zenwatch = live(**own)
    apply(cluster, report_in(namespace, a_vulnerability()))
    eventually(lambda: by_name(cluster, namespace))
    apply(cluster, report_in(namespace))
    [name] = by_name(cluster, namespace)
    eventually(lambda: by_name(cluster, namespace)[name]["status"]["phase"] == "Resolved")

    opened = {"status": {"phase": "Open", "resolvedAt": None}}
    cluster.kubectl("patch", "zae", name, "-n", namespace, "--subresource=status", "--type=merge", "-p", json.dumps(opened))

    eventually(lambda: by_name(cluster, namespace)[name]["status"]["phase"] == "Resolved")
    assert zenwatch.log("round_failed") == []


def labels_by_rule(cluster: ControlPlane, namespace: str) -> dict[str, dict[str, str]]:
    found = by_name(cluster, namespace).values()
    return {record["spec"]["details"]["rule"]: record["metadata"].get("labels", {}) for record in found}


@pytest.mark.parametrize("when", [RUNNING, STOPPED])
def test_the_labels_of_a_pushed_record_are_restored_without_another_event(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live, when: str
) -> None:
    """They follow from its spec. Without two of them zenwatch would not see it any more, and never delete it."""
    taken = {"none": (), "all": LABELS, **{name: (name,) for name in LABELS}}
    zenwatch = live(**own)
    for rule in taken:
        assert post(f"{zenwatch.url}/falco/webhook", an_alert_in(namespace, rule=rule))[0] == 200
    eventually(lambda: len(by_name(cluster, namespace)) == len(taken))
    before, records_before = labels_by_rule(cluster, namespace), by_name(cluster, namespace)
    if when == STOPPED:
        zenwatch.stop()

    for name, record in records_before.items():
        for label in taken[record["spec"]["details"]["rule"]]:
            junk = f"{label}-" if label in LABELS[::2] else f"{label}=junk"
            cluster.kubectl("label", "zae", name, "-n", namespace, "--overwrite", junk)
    if when == RUNNING:
        zenwatch.clock.advance(secs=MEND_EVERY_SECS)
    else:
        zenwatch = live(**own)

    eventually(lambda: labels_by_rule(cluster, namespace) == before)
    assert zenwatch.log("labels_not_restored") == []


PUSHED_EDITS: dict[str, Json] = {
    "all labels and annotations": {"metadata": {"labels": None, "annotations": None}},
    "the title": {"spec": {"title": "junk"}},
    "the samples": {"spec": {"details": {"samples": {"junk": [1]}}}},
    "the detection": {"spec": {"detectedAt": "0001-01-01T00:00:00Z"}},
    "a last sighting in small letters": {"status": {"lastSeen": "2026-01-01t00:00:00.123456789z"}},
    "a last sighting at the end of time": {"status": {"lastSeen": "9999-12-31T23:59:59Z"}},
    "a first sighting at the end of time": {"status": {"firstSeen": "9999-12-31T23:59:59Z", "lastSeen": "9999-12-31T23:59:59Z"}},
    "the largest count": {"status": {"count": 2**63 - 1, "reopened": 2**63 - 1}},
    "no count": {"status": {"count": 0}},
    "the phase": {"status": {"phase": "Resolved"}},
}


@pytest.mark.parametrize("changes", PUSHED_EDITS.values(), ids=PUSHED_EDITS)
def test_the_next_sighting_writes_a_pushed_record_again_whatever_was_edited(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live, changes: dict[str, Any]
) -> None:
    """The count goes on from what the record shows, and the event is neither lost nor a dead letter."""
    zenwatch = live(**own, COALESCE_WINDOW="0s")
    alert = an_alert_in(namespace)
    assert post(f"{zenwatch.url}/falco/webhook", alert)[0] == 200
    [name] = eventually(lambda: by_name(cluster, namespace))
    before = as_written(by_name(cluster, namespace)[name])

    subresource = ["--subresource=status"] if "status" in changes else []
    cluster.kubectl("patch", "zae", name, "-n", namespace, "--type=merge", *subresource, "-p", json.dumps(changes))
    edited = by_name(cluster, namespace)[name]["status"]["count"]
    assert post(f"{zenwatch.url}/falco/webhook", alert)[0] == 200

    wanted = before | {"count": min(edited, 2**62) + 1}

    def written() -> Json:
        now = as_written(by_name(cluster, namespace)[name])
        # The list of samples has the new one, and so the hash is another.
        details = now["spec"]["details"] | {"samples": before["spec"]["details"]["samples"]}
        return now | {"spec": now["spec"] | {"details": details}, "annotations": before["annotations"]}

    eventually(lambda: written() == wanted)
    assert [zenwatch.log(complaint) for complaint in COMPLAINTS] == [[]] * len(COMPLAINTS)
    assert len(by_name(cluster, namespace)) == 1
