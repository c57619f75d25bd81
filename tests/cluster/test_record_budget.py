"""More findings than the record budget allows: which are stored, which are rolled up, and what changes when records are free again."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.support.builders.posted import an_alert_in
from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.client import get, post
from tests.support.live.commands import doctor
from tests.support.live.in_process import InProcess
from tests.support.live.objects import Json, apply, life_of
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]

HOUR_SECS = 3600.0
# Longer than the interval of retention, and of the findings about zenwatch.
CHECK_SECS = 31.0
LIMIT = 10
OPEN, ROLLUP_ENDED, FIXED = ("Open", ""), ("Resolved", "RollupEnded"), ("Resolved", "Fixed")


@pytest.fixture
def own(cluster: ControlPlane, namespace: str) -> Iterator[dict[str, str]]:
    """Settings with which zenwatch sees nothing of other tests and has a budget of ten records."""
    only_here = {"CLUSTER_ID": namespace, "WATCH_NAMESPACE": namespace}
    # However far the clock is moved, no source is silent.
    silent = {"TRIVY_SILENCE_AFTER": "8760h", "AUDIT_SILENCE_AFTER": "8760h"}
    yield only_here | silent | {"TRIVY_MIN_SEVERITY": "INFO", "RECORD_BUDGET": str(LIMIT)}
    cluster.kubectl("delete", "zae", "-n", "zenwatch", "-l", f"zen.kube-zen.io/cluster={namespace}")


def found(prefix: str, **severities: int) -> list[Json]:
    """So many vulnerabilities of each severity; their IDs begin with the prefix."""
    return [
        a_vulnerability(vulnerabilityID=f"{prefix}-{severity}-{number}", severity=severity)
        for severity, count in severities.items()
        for number in range(count)
    ]


def scan(cluster: ControlPlane, namespace: str, pod: str, **severities: int) -> None:
    """Write the report of the Pod, with so many vulnerabilities of each severity."""
    resource = {"kind": "Pod", "name": pod, "namespace": namespace}
    labels = {f"trivy-operator.resource.{part}": value for part, value in resource.items()}
    apply(cluster, report_in(namespace, *found(pod, **severities), name=f"pod-{pod}", labels=labels))


@dataclass
class Store:
    """All records of one zenwatch. own: the open records of one finding each, by severity. over: the number of resolved ones.

    rollups: by source and resource, the counts of each, and its phase and reason. self_findings: phase and reason by event type.
    """

    own: Counter[str] = field(default_factory=Counter)
    over: int = 0
    rollups: dict[str, tuple[dict[str, int], tuple[str, str]]] = field(default_factory=dict)
    self_findings: dict[str, tuple[str, str]] = field(default_factory=dict)
    records: int = 0

    @property
    def rolled_up(self) -> Counter[str]:
        """The sum of all open rollups, by severity."""
        return sum((Counter(counts) for counts, life in self.rollups.values() if life != ROLLUP_ENDED), Counter[str]())


def store_of(cluster: ControlPlane, namespace: str) -> Store:
    listed = json.loads(cluster.kubectl("get", "zae", "-A", "-l", f"zen.kube-zen.io/cluster={namespace}", "-o", "json"))["items"]
    store = Store(records=len(listed))
    for record in listed:
        spec, (phase, reason, _) = record["spec"], life_of(record)
        if spec["source"] == "zenwatch":
            store.self_findings[spec["eventType"]] = phase, reason
        elif spec["eventType"] == "rollup":
            totals = {spec["details"].pop("rolledUp"), sum(spec["details"].values()), record["status"]["count"]}
            # The status is written after the spec.
            life = (phase, reason) if len(totals) == 1 else ("Half written", "")
            store.rollups[f"{spec['source']} {spec['resource']['name']}"] = spec["details"], life
        elif phase == "Open":
            store.own[spec["severity"]] += 1
        else:
            store.over += 1
    return store


def await_store(cluster: ControlPlane, namespace: str, is_so: Callable[[Store], bool]) -> Store:
    seen: list[Store] = []

    def is_wanted() -> bool:
        seen.append(store_of(cluster, namespace))
        return is_so(seen[-1])

    eventually(is_wanted)
    return seen[-1]


def used_share(zenwatch: InProcess) -> float:
    [line] = [line for line in get(f"{zenwatch.url}/metrics")[1].splitlines() if line.startswith("zenwatch_record_budget_used_ratio ")]
    return float(line.split()[1])


def versions(cluster: ControlPlane, namespace: str) -> dict[str, str]:
    """The resourceVersion of each record, which every write changes."""
    listed = json.loads(cluster.kubectl("get", "zae", "-A", "-l", f"zen.kube-zen.io/cluster={namespace}", "-o", "json"))["items"]
    return {record["metadata"]["name"]: record["metadata"]["resourceVersion"] for record in listed}


@pytest.fixture
def full(cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live) -> InProcess:
    """4 CRITICAL findings and 14 others of two Pods exist when zenwatch starts: beside two rollups, eight have a record of their own."""
    scan(cluster, namespace, "web", CRITICAL=4, HIGH=4, LOW=2)
    scan(cluster, namespace, "db", MEDIUM=2, LOW=6)
    zenwatch = live(**own)
    zenwatch.advance(CHECK_SECS)
    await_store(cluster, namespace, lambda store: store.self_findings == {"record-budget": OPEN})
    return zenwatch


WEB_ROLLED_UP, DB_ROLLED_UP = {"LOW": 2}, {"MEDIUM": 2, "LOW": 6}


# ---------------------------------------------------------------- reports


def test_findings_without_a_record_are_counted_until_records_are_free(cluster: ControlPlane, namespace: str, full: InProcess) -> None:
    """The highest scores have records. Resolved records are deleted for others. The finding about the budget is resolved when the
    budget is well below its limit.
    """
    store = store_of(cluster, namespace)
    assert store.own == {"CRITICAL": 4, "HIGH": 4}
    assert store.rollups == {"trivy web": (WEB_ROLLED_UP, OPEN), "trivy db": (DB_ROLLED_UP, OPEN)}
    # The finding about the budget is one more record than the limit.
    assert store.records == LIMIT + 1
    assert used_share(full) >= 1.0
    line = full.log("record_budget")[-1]
    assert (line["state"], "10 findings are rolled up. Raise RECORD_BUDGET" in line["reason"]) == ("full", True)

    # The HIGH ones are fixed: three others get their records, the highest scores first.
    scan(cluster, namespace, "web", CRITICAL=4, LOW=2)
    await_store(cluster, namespace, lambda store: store.over == 4)
    full.advance(CHECK_SECS)
    own = {"CRITICAL": 4, "MEDIUM": 2, "LOW": 1}
    store = await_store(cluster, namespace, lambda store: (store.own, store.rolled_up) == (own, {"LOW": 7}))
    assert (store.over, store.records) == (0, LIMIT)
    assert full.wait_for_log("records_deleted", reason="MadeRoom")["count"] == 4

    # Nearly all are fixed: all that are left have records, and nothing is rolled up.
    scan(cluster, namespace, "db", MEDIUM=2)
    full.wait_for_rounds()
    full.advance(CHECK_SECS)
    own = {"CRITICAL": 4, "MEDIUM": 2, "LOW": 2}
    await_store(cluster, namespace, lambda store: (store.own, store.rolled_up) == (own, {}))
    scan(cluster, namespace, "web", CRITICAL=3)
    full.wait_for_rounds()
    full.advance(169 * HOUR_SECS)
    full.advance(CHECK_SECS)
    left = Store(Counter(CRITICAL=3, MEDIUM=2), self_findings={"record-budget": FIXED}, records=6)
    await_store(cluster, namespace, lambda store: store == left)
    assert full.log("record_budget")[-1]["state"] == "ok"
    assert used_share(full) < 0.75


def test_a_restart_over_a_full_budget_writes_nothing(
    cluster: ControlPlane, namespace: str, own: dict[str, str], full: InProcess, live: Live
) -> None:
    """The same findings are rolled up into the same records again, also after an hour."""
    before = versions(cluster, namespace)

    zenwatch = live(**own)
    zenwatch.advance(CHECK_SECS)
    zenwatch.advance(HOUR_SECS)

    assert versions(cluster, namespace) == before


def test_a_higher_budget_gives_each_finding_its_record_at_the_restart(
    cluster: ControlPlane, namespace: str, own: dict[str, str], full: InProcess, live: Live
) -> None:
    """The rollups and the finding about the budget are resolved. If the budget is lowered again, no finding loses its record."""
    zenwatch = live(**own | {"RECORD_BUDGET": "40"})
    zenwatch.advance(CHECK_SECS)
    separate = await_store(cluster, namespace, lambda store: store.self_findings == {"record-budget": FIXED})
    assert separate.own == {"CRITICAL": 4, "HIGH": 4, "MEDIUM": 2, "LOW": 8}
    assert separate.rollups == {"trivy web": (WEB_ROLLED_UP, ROLLUP_ENDED), "trivy db": (DB_ROLLED_UP, ROLLUP_ENDED)}

    zenwatch = live(**own)
    zenwatch.advance(CHECK_SECS)
    back = await_store(cluster, namespace, lambda store: store.self_findings == {"record-budget": ("Open", "Reopened")})
    assert back.own == separate.own


# ---------------------------------------------------------------- pushed alerts


def test_alerts_without_a_record_are_counted_exactly_in_the_rollup_of_their_resource(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live
) -> None:
    """Also over a restart. An alert that has a record keeps it, and a CRITICAL alert always gets one."""
    settings = {**own, "COALESCE_WINDOW": "0s"}
    zenwatch = live(**settings)

    def alert(rule: str, priority: str, pod: str = "web", *, times: int = 1) -> None:
        fields = {"k8s.ns.name": namespace, "k8s.pod.name": pod}
        body = an_alert_in(namespace, rule=rule, priority=priority, output=f"{rule} was seen", output_fields=fields)
        assert {post(f"{zenwatch.url}/falco/webhook", body)[0] for _ in range(times)} == {200}

    alert("early", "Warning")
    eventually(lambda: store_of(cluster, namespace).own == {"MEDIUM": 1})
    scan(cluster, namespace, "web", HIGH=9)
    eventually(lambda: store_of(cluster, namespace).own == {"HIGH": 9, "MEDIUM": 1})

    alert("early", "Warning", times=3)
    for number in range(5):
        alert(f"warned {number}", "Warning", times=2)
        alert(f"noticed {number}", "Notice")
    alert("warned", "Warning", "db", times=4)
    alert("grave", "Critical", times=2)
    web, db = {"MEDIUM": 10, "LOW": 5}, {"MEDIUM": 4}
    store = await_store(cluster, namespace, lambda store: store.rollups == {"falco web": (web, OPEN), "falco db": (db, OPEN)})
    assert store.own == {"HIGH": 9, "MEDIUM": 1, "CRITICAL": 1}

    zenwatch = live(**settings)
    alert("failed", "Error", times=2)
    alert("warned 1", "Warning")
    web = {"HIGH": 2, "MEDIUM": 11, "LOW": 5}
    await_store(cluster, namespace, lambda store: store.rollups == {"falco web": (web, OPEN), "falco db": (db, OPEN)})
    counts = cluster.kubectl("get", "zae", "-n", namespace, "-l", "source=falco", "-o", "jsonpath={.items[*].status.count}")
    assert sorted(map(int, counts.split())) == [2, 4, 4, 18]

    scan(cluster, namespace, "web", HIGH=1)
    zenwatch.wait_for_rounds()
    zenwatch.advance(25 * HOUR_SECS)
    zenwatch.advance(CHECK_SECS)
    await_store(cluster, namespace, lambda store: {life for _, life in store.rollups.values()} <= {("Resolved", "NotSeenAgain")})
    alert("warned 2", "Warning")
    await_store(cluster, namespace, lambda store: store.own == {"HIGH": 1, "MEDIUM": 1})


# ---------------------------------------------------------------- doctor


def test_doctor_shows_a_full_budget_until_its_advice_is_followed(
    cluster: ControlPlane, namespace: str, own: dict[str, str], start_zenwatch: Callable[..., Zenwatch]
) -> None:
    """It also shows each line that only the process knows."""
    kubeconfig = cluster.kubeconfig()
    scan(cluster, namespace, "web", CRITICAL=4, HIGH=4, LOW=2)
    scan(cluster, namespace, "db", MEDIUM=2, LOW=6)
    zenwatch = start_zenwatch(**own)
    zenwatch.wait_for_stored(8)
    assert post(f"{zenwatch.url}/falco/webhook", an_alert_in(namespace))[0] == 200
    eventually(lambda: store_of(cluster, namespace).own["CRITICAL"] == 5)

    full = doctor(kubeconfig, "--url", zenwatch.url, **own)
    assert (full.code, full.bad()) == (2, [("process", "budget")])
    text, advice = full.text("process", "budget"), " ".join(full.advice("process", "budget"))
    assert " records, 0 of 200 MiB; 10 findings " in text
    assert "raise RECORD_BUDGET" in advice
    source = next(
        line for line in cluster.kubectl("get", "zae", "-n", namespace, "--no-headers").splitlines() if "CRITICAL" in line
    ).split()
    assert ("awk '{print $4}'" in advice, source[2] in ("trivy", "falco")) == (True, True)
    assert full.text("process", "answers").startswith("zenwatch 0")
    assert f" runs at {zenwatch.url}, since " in full.text("process", "answers")
    assert full.text("process", "writes") == "they reach the API server"
    assert full.text("falco", "sender").startswith("last post ")
    assert full.text("falco", "sender").endswith(" s ago by 127.0.0.1")
    assert full.text("falco", "buffer") == "0 of 100 events wait to be stored"
    assert full.level("audit", "sender") == "UNKNOWN"
    assert full.text("trivy", "data").startswith("last data ")
    assert full.text("trivy", "data").endswith("; 10 records open")
    assert full.text("kyverno", "data") == "no data yet; 0 records open"

    zenwatch.stop()
    settings = own | {"RECORD_BUDGET": "40"}
    zenwatch = start_zenwatch(**settings)
    zenwatch.wait_for_stored(10)
    healthy = doctor(kubeconfig, "--url", zenwatch.url, **settings)
    assert (healthy.code, healthy.bad()) == (0, [])
    assert healthy.text("process", "budget").endswith(" of 40 records, 0 of 200 MiB")
