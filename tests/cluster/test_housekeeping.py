"""Which records are deleted, and what zenwatch reports about silent tools and missing fields: real objects, a moved clock."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from tests.support import audit_events, payloads
from tests.support.builders.posted import an_alert_in
from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity, kubeconfig_text
from tests.support.fakes.clock import MovedClock
from tests.support.faults.fault_proxy import Fault, FaultProxy
from tests.support.live.client import get, post
from tests.support.live.commands import doctor
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, life_of, records, writes
from tests.support.live.process import eventually

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]

HOUR_SECS = 3600.0
# The moved clock also runs by itself, so each test keeps some minutes of distance from the moment that it is about.
MARGIN_SECS = 600.0


@pytest.fixture
def own(cluster: ControlPlane, namespace: str) -> Iterator[dict[str, str]]:
    """Settings with which zenwatch sees neither reports nor records of other tests."""
    yield {"CLUSTER_ID": namespace, "WATCH_NAMESPACE": namespace}
    cluster.kubectl("delete", "zae", "-n", "zenwatch", "-l", f"zen.kube-zen.io/cluster={namespace}")


def cves(*numbers: int, **changes: str | None) -> list[Json]:
    return [a_vulnerability(vulnerabilityID=f"CVE-2026-{number}", **changes) for number in numbers]


def what(record: Json) -> str:
    """The CVE or the rule of the record."""
    details = record["spec"]["details"]
    return str(details.get("vulnID") or details["rule"])


def phases(cluster: ControlPlane, namespace: str) -> dict[str, str]:
    """The phases of all records about the namespace, by CVE or rule."""
    return {what(record): life_of(record)[0] for record in records(cluster, namespace)}


def await_phases(cluster: ControlPlane, namespace: str, wanted: dict[str, str]) -> None:
    eventually(lambda: phases(cluster, namespace) == wanted)


def annotate(cluster: ControlPlane, namespace: str, about_what: str, ttl: str) -> None:
    [name] = [record["metadata"]["name"] for record in records(cluster, namespace) if what(record) == about_what]
    cluster.kubectl("annotate", "zae", name, "-n", namespace, f"zen.kube-zen.io/ttl={ttl}")


def alert(zenwatch: InProcess, namespace: str, rule: str, **changes: str) -> None:
    """Post an alert about the Pod web of the namespace."""
    status, text = post(f"{zenwatch.url}/falco/webhook", an_alert_in(namespace, rule=rule, output=f"{rule} was seen", **changes))
    assert status == 200, text


# ---------------------------------------------------------------- retention


def test_records_are_deleted_after_their_time_and_open_findings_stay(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live
) -> None:
    """EVENT_TTL after the last sighting a resolved record is deleted, and a pushed one even if it is open. An annotation of the record
    may give it another time.

    Each has a DELETE of its own, which can delete no other record.
    """
    zenwatch = live(**own, FALCO_RESOLVE_AFTER="8760h")
    apply(cluster, report_in(namespace, *cves(1, 2, 3)))
    alert(zenwatch, namespace, "one")
    alert(zenwatch, namespace, "two")
    await_phases(cluster, namespace, {"CVE-2026-1": "Open", "CVE-2026-2": "Open", "CVE-2026-3": "Open", "one": "Open", "two": "Open"})
    apply(cluster, report_in(namespace, *cves(3)))
    all_there = {"CVE-2026-1": "Resolved", "CVE-2026-2": "Resolved", "CVE-2026-3": "Open", "one": "Open", "two": "Open"}
    await_phases(cluster, namespace, all_there)
    for about_what in ("CVE-2026-2", "two"):
        annotate(cluster, namespace, about_what, "1h")

    zenwatch.advance(HOUR_SECS - MARGIN_SECS)
    assert phases(cluster, namespace) == all_there
    zenwatch.advance(2 * MARGIN_SECS)
    assert zenwatch.wait_for_log("records_deleted", reason="Expired")["count"] == 2
    later = {"CVE-2026-1": "Resolved", "CVE-2026-3": "Open", "one": "Open"}
    await_phases(cluster, namespace, later)

    zenwatch.advance(167 * HOUR_SECS - 2 * MARGIN_SECS)
    assert phases(cluster, namespace) == later
    zenwatch.advance(2 * MARGIN_SECS)
    await_phases(cluster, namespace, {"CVE-2026-3": "Open"})
    zenwatch.advance(1000 * HOUR_SECS)
    assert phases(cluster, namespace) == {"CVE-2026-3": "Open"}
    made = writes(cluster, namespace)
    assert (made.count("create"), made.count("delete"), "deletecollection" in made) == (5, 4, False)

    alert(zenwatch, namespace, "one")
    await_phases(cluster, namespace, {"CVE-2026-3": "Open", "one": "Open"})


class Meanwhile(FaultProxy):
    """Lets a test change something between the decision to delete a record and its deletion. deletions: the body of each."""

    def __init__(self, cluster: ControlPlane, happens: Callable[[], None]) -> None:
        super().__init__(cluster.server, cluster.ca_file, choose=lambda: Fault.NONE)
        self.deletions: list[Json] = []
        self._happens = happens

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "DELETE":
            self.deletions.append(json.loads(await request.read()))
            await asyncio.to_thread(self._happens)
        return await super()._handle(request)


def test_a_record_that_changes_before_its_deletion_is_kept(
    cluster: ControlPlane, account: Identity, own: dict[str, str], moved_clock: MovedClock, tmp_path: Path
) -> None:
    """The deletion names the version of the decision, so the API server refuses it. The next decision is about the new version."""
    kubeconfig, namespace = tmp_path / "kubeconfig", own["WATCH_NAMESPACE"]
    with Meanwhile(cluster, lambda: annotate(cluster, namespace, "one", "1000h")) as proxy:
        kubeconfig.write_text(kubeconfig_text(account, server=proxy.url, ca_pem=b""))
        zenwatch = InProcess(kubeconfig, moved_clock, {**own, "FALCO_RESOLVE_AFTER": "8760h"}).start()
        try:
            alert(zenwatch, namespace, "one")
            [record] = eventually(lambda: records(cluster, namespace))
            zenwatch.advance(169 * HOUR_SECS)
            eventually(lambda: proxy.deletions)
            zenwatch.advance(HOUR_SECS)
            [survivor] = records(cluster, namespace)
            deleted = zenwatch.log("records_deleted")
        finally:
            zenwatch.stop()

    version = record["metadata"]["resourceVersion"]
    assert proxy.deletions == [{"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"resourceVersion": version}}]
    assert survivor["metadata"]["uid"] == record["metadata"]["uid"]
    assert deleted == []


# ---------------------------------------------------------------- a namespace that is deleted


def answers(cluster: ControlPlane, namespace: str) -> Counter[tuple[str, int]]:
    """Count the API server's answers to zenwatch's writes of records there, by verb and code."""
    return Counter(
        (event["verb"], event["responseStatus"]["code"])
        for event in cluster.audit_events()
        if event["user"]["username"] == "system:serviceaccount:zenwatch:zenwatch"
        and event["stage"] == "ResponseComplete"
        and event["verb"] not in ("get", "list", "watch")
        and (event.get("objectRef", {}).get("resource"), event["objectRef"].get("namespace")) == ("zenagentevents", namespace)
    )


def status_of(zenwatch: InProcess) -> tuple[int, int, int]:
    """The number of records, of open ones of Trivy, and of open ones of Falco."""
    status = json.loads(get(f"{zenwatch.url}/status")[1])
    return status["budget"]["records"], status["sources"]["trivy"]["open"], status["sources"]["falco"]["open"]


def finalize(cluster: ControlPlane, namespace: str, *finalizers: str) -> None:
    """Set the finalizers of the report in the namespace; with one, neither the report nor the namespace can be deleted."""
    patch = json.dumps({"metadata": {"finalizers": list(finalizers)}})
    cluster.kubectl("patch", "vulnerabilityreports", "pod-nginx", "-n", namespace, "--type=merge", "-p", patch)


@pytest.fixture
def going(cluster: ControlPlane) -> Iterator[tuple[str, str]]:
    """Two namespaces that the test deletes; a report with a finalizer keeps the second one Terminating."""
    names = cluster.namespace("going"), cluster.namespace("held")
    for name in names:
        apply(cluster, report_in(name, *cves(1, 2, 3)))
    finalize(cluster, names[1], "example.test/hold")
    yield names
    for name in names:
        cluster.kubectl("delete", "vulnerabilityreports", "--all", "-n", name, "--wait=false")
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
    if cluster.kubectl("get", "vulnerabilityreports", "-n", names[1], "-o", "name"):
        finalize(cluster, names[1])


def test_the_records_of_a_deleted_namespace_are_deleted_with_it_and_none_is_written_into_it(
    cluster: ControlPlane, namespace: str, own: dict[str, str], going: tuple[str, str], live: Live
) -> None:
    """If its records are deleted before its reports, they are stored in zenwatch's own namespace until the reports are deleted, too.

    Each is tried once in the old namespace. A new namespace of the same name is like any other.
    """
    # A round comes only when the test moves the clock, because the namespace controller deletes kinds in any order.
    interval_secs = 2 * HOUR_SECS
    gone, held = going
    settings = {"CLUSTER_ID": own["CLUSTER_ID"], "WATCH_NAMESPACE": f"{gone},{held}", "WATCH_INTERVAL": "2h"}
    zenwatch = live(**settings)
    alert(zenwatch, gone, "one")
    alert(zenwatch, held, "another")
    eventually(lambda: status_of(zenwatch) == (8, 6, 2))

    cluster.kubectl("delete", "namespace", *going, "--wait=false")
    alert(zenwatch, gone, "two")
    cluster.kubectl("wait", "--for=delete", f"namespace/{gone}", "--timeout=60s")
    eventually(lambda: status_of(zenwatch) == (1, 0, 1))
    zenwatch.clock.advance(secs=interval_secs)
    eventually(lambda: status_of(zenwatch) == (4, 3, 1))
    assert answers(cluster, gone) == {("create", 201): 4, ("create", 403): 1}
    assert answers(cluster, held) == {("create", 201): 4, ("create", 403): 3}
    assert {record["metadata"]["namespace"] for name in going for record in records(cluster, name)} == {"zenwatch"}

    finalize(cluster, held)
    for _ in range(2):
        zenwatch.clock.advance(secs=interval_secs)
        eventually(lambda: zenwatch.log("round_done", source="trivy")[-1]["in_flight"] == 0)
    eventually(lambda: [life_of(record) for record in records(cluster, held)] == [("Resolved", "ReportGone", 0)] * 3)
    assert answers(cluster, held) == {("create", 201): 4, ("create", 403): 3}
    for complaint in ("round_failed", "record_not_written", "permission_missing", "dead_letter", "status_refused"):
        assert zenwatch.log(complaint) == []

    cluster.kubectl("create", "namespace", gone)
    apply(cluster, report_in(gone, *cves(1, 2, 3)))
    alert(zenwatch, gone, "one")
    zenwatch.clock.advance(secs=interval_secs)
    there = {"CVE-2026-1": "Open", "CVE-2026-2": "Open", "CVE-2026-3": "Open", "one": "Open", "two": "Open"}
    await_phases(cluster, gone, there)
    assert Counter(record["metadata"]["namespace"] for record in records(cluster, gone)) == {gone: 4, "zenwatch": 1}


# ---------------------------------------------------------------- findings about sources


def self_findings_of(cluster: ControlPlane, namespace: str) -> dict[str, Json]:
    """The records of source zenwatch of this test's process, by key."""
    labels = f"source=zenwatch,zen.kube-zen.io/cluster={namespace}"
    found = json.loads(cluster.kubectl("get", "zae", "-n", "zenwatch", "-l", labels, "-o", "json"))["items"]
    return {record["spec"]["key"]: record for record in found}


def await_self_findings(cluster: ControlPlane, namespace: str, wanted: dict[str, tuple[str, str]]) -> dict[str, Json]:
    """Wait until these are its records, by key, with phase and reason."""
    eventually(lambda: {key: life_of(record)[:2] for key, record in self_findings_of(cluster, namespace).items()} == wanted)
    return self_findings_of(cluster, namespace)


def gauge(zenwatch: InProcess, name: str, source: str) -> float | None:
    lines = dict(line.rsplit(" ", 1) for line in get(f"{zenwatch.url}/metrics")[1].splitlines() if not line.startswith("#"))
    value = lines.get(f'{name}{{cluster_id="{zenwatch.cluster_id}",source="{source}"}}')
    return None if value is None else float(value)


def test_a_silent_source_is_a_record_until_it_sends_data_again(
    cluster: ControlPlane, namespace: str, own: dict[str, str], moved_clock: MovedClock, live: Live
) -> None:
    """A scanner is silent after its setting, the API server an hour after its last post; Falco only if it has a usual pause."""
    # Reports have the times of the API server's clock, so let the test begin earlier and end now.
    moved_clock.advance(secs=-3 * HOUR_SECS)
    kubeconfig = cluster.kubeconfig()
    zenwatch = live(**own, TRIVY_SILENCE_AFTER="1h", FALCO_SILENCE_AFTER="1h")
    where = ("--url", zenwatch.url)

    def audited(audit_id: str) -> None:
        secret = audit_events.a_reference("secrets", namespace=namespace)
        assert post(f"{zenwatch.url}/audit/webhook", audit_events.a_body(audit_events.an_event(secret, auditID=audit_id)))[0] == 200

    apply(cluster, report_in(namespace, *cves(1)))
    alert(zenwatch, namespace, "one")
    audited("70607cf4-c644-4642-af31-0d9a173259fe")
    eventually(lambda: len(records(cluster, namespace)) == 3)
    zenwatch.advance(HOUR_SECS - MARGIN_SECS)
    assert {gauge(zenwatch, "zenwatch_source_silent", source) for source in ("trivy", "audit", "falco", "kyverno")} == {0}
    assert self_findings_of(cluster, namespace) == {}

    zenwatch.advance(2 * HOUR_SECS + MARGIN_SECS)
    open_, over = ("Open", ""), ("Resolved", "Fixed")
    reported = await_self_findings(cluster, namespace, {"source-silent/trivy": open_, "source-silent/audit": open_})
    spec = reported["source-silent/trivy"]["spec"]
    assert (spec["eventType"], spec["severity"], spec["details"]["about"]) == ("source-silent", "HIGH", "trivy")
    assert spec["title"] == f"trivy has said nothing since {spec['details']['silentSince']}"
    assert "TRIVY_SILENCE_AFTER" in spec["remediation"]
    gauges = {source: gauge(zenwatch, "zenwatch_source_silent", source) for source in ("trivy", "audit", "falco", "kyverno")}
    assert gauges == {"trivy": 1, "audit": 1, "falco": 0, "kyverno": 0}
    report = doctor(kubeconfig, *where, **own)
    assert set(report.bad()) == {("trivy", "silence"), ("audit", "silence")}
    assert report.text("trivy", "silence") == "silent for 3 hours, longer than usual; last data 3 hours ago"
    assert (report.code, report.text("falco", "sender")) == (1, "last post 3 hours ago by 127.0.0.1")

    apply(cluster, report_in(namespace, *cves(1, 2)))
    audited("70607cf4-c644-4642-af31-0d9a173259ff")
    eventually(lambda: len(records(cluster, namespace)) == 5)
    zenwatch.advance(60)
    await_self_findings(cluster, namespace, {"source-silent/trivy": over, "source-silent/audit": over})
    assert {gauge(zenwatch, "zenwatch_source_silent", source) for source in ("trivy", "audit", "falco")} == {0}
    assert {line["source"] for line in zenwatch.log("source_speaks_again")} == {"trivy", "audit"}
    report = doctor(kubeconfig, *where, **own)
    assert (report.bad(), report.code) == ([], 0)


def test_a_field_that_a_tool_stops_sending_is_a_record_until_it_sends_it_again(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live
) -> None:
    """60 vulnerabilities of six reports have the field; three reports without it open the record, and one with it resolves it."""
    zenwatch = live(**own)
    where, missing = ("--url", zenwatch.url), "report.vulnerabilities[].primaryLink"
    reports = {number: cves(*range(10 * number, 10 * number + 10), severity="LOW") for number in range(6)}
    shorter = {number: [entry | {"title": "another flaw"} for entry in reports[number]] for number in range(3)}
    for entry in (entry for entries in shorter.values() for entry in entries):
        del entry["primaryLink"]

    with zenwatch.sees(6):
        apply(cluster, *(report_in(namespace, *entries, name=f"scan-{number}") for number, entries in reports.items()))
    zenwatch.advance(60)
    assert self_findings_of(cluster, namespace) == {}
    apply(cluster, *(report_in(namespace, *entries, name=f"scan-{number}") for number, entries in shorter.items()))
    zenwatch.wait_for_rounds()
    zenwatch.advance(60)
    reported = await_self_findings(cluster, namespace, {"schema-drift/trivy": ("Open", "")})
    spec = reported["schema-drift/trivy"]["spec"]
    assert (spec["eventType"], spec["details"]["missing"]) == ("schema-drift", [missing])
    assert spec["title"] == f"trivy does not send any more what it always sent: {missing}"
    assert zenwatch.wait_for_log("fields_missing")["reason"] == missing
    assert gauge(zenwatch, "zenwatch_source_missing_fields", "trivy") == 1
    report = doctor(cluster.kubeconfig(), *where, **own)
    assert (report.code, report.bad()) == (1, [("trivy", "fields")])
    assert f"lacks {missing}:" in report.text("trivy", "fields")

    apply(cluster, report_in(namespace, *reports[0], name="scan-0"))
    zenwatch.wait_for_rounds()
    zenwatch.advance(60)
    await_self_findings(cluster, namespace, {"schema-drift/trivy": ("Resolved", "Fixed")})
    assert gauge(zenwatch, "zenwatch_source_missing_fields", "trivy") == 0


def test_reports_that_cannot_be_read_are_named_until_they_can(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live
) -> None:
    """What is understood of them is stored; doctor, the ledger and a record of zenwatch tell what is not, and what to do."""

    def scan(key: str, text: str) -> Json:
        metadata = {"name": "scan", "namespace": namespace, "labels": {"app": "checkov"}}
        return payloads.a_config_map({key: text}, metadata=metadata)

    zenwatch = live(**own)
    sarif = json.dumps({"version": "2.1.0", "runs": []})
    apply(cluster, scan("a.json", sarif), report_in(namespace, *cves(1), a_vulnerability(vulnerabilityID="")))
    await_phases(cluster, namespace, {"CVE-2026-1": "Open"})
    zenwatch.wait_for_rounds()
    zenwatch.advance(60)
    reported = await_self_findings(cluster, namespace, {"reports-rejected/trivy": ("Open", ""), "reports-rejected/checkov": ("Open", "")})
    named = reported["reports-rejected/checkov"]["spec"]["details"]["reports"]
    assert named == [f"configmaps {namespace}/scan: a.json is SARIF; zenwatch reads what checkov -o json prints"]
    assert gauge(zenwatch, "zenwatch_source_rejected_reports", "checkov") == 1
    report = doctor(cluster.kubeconfig(), "--url", zenwatch.url, **own)
    assert (report.code, report.bad()) == (1, [("checkov", "reports"), ("trivy", "reports")])
    assert report.advice("trivy", "reports")[0].endswith("vulnerabilities[1].vulnerabilityID is missing; the rest of it is stored")
    assert report.advice("checkov", "reports")[-1].startswith("Run checkov with -o json")

    apply(cluster, report_in(namespace, a_vulnerability(vulnerabilityID="")))
    apply(cluster, scan("a.json", json.dumps(payloads.a_scan())))
    zenwatch.wait_for_rounds()
    zenwatch.advance(60)
    assert phases(cluster, namespace) == {"CVE-2026-1": "Open"}
    apply(cluster, report_in(namespace, *cves(2)))
    await_phases(cluster, namespace, {"CVE-2026-1": "Resolved", "CVE-2026-2": "Open"})
    zenwatch.advance(60)
    over = ("Resolved", "Fixed")
    await_self_findings(cluster, namespace, {"reports-rejected/trivy": over, "reports-rejected/checkov": over})
    report = doctor(cluster.kubeconfig(), "--url", zenwatch.url, **own)
    assert (report.bad(), report.code) == ([], 0)
