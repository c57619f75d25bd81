"""More findings than there is room for: what is stored all the same, what is rolled up, and what comes of it when there is room again."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests.cluster.test_doctor import doctor
from tests.cluster.test_push import about, get, post
from tests.support.controlplane.cluster import ControlPlane
from tests.support.fakes.findings import a_vulnerability
from tests.support.in_process import InProcess
from tests.support.objects import Json, apply, life_of, report_in
from tests.support.zenwatch_process import Zenwatch, eventually

pytestmark = pytest.mark.cluster
Live = Callable[..., InProcess]

HOUR_SECS = 3600.0
# Longer than it takes until retention looks again, and until what zenwatch says of itself is up to date.
LOOK_SECS = 31.0
LIMIT = 10
OPEN, UNROLLED, FIXED = ("Open", ""), ("Resolved", "RollupEnded"), ("Resolved", "Fixed")


@pytest.fixture
def own(cluster: ControlPlane, namespace: str) -> Iterator[dict[str, str]]:
    """Settings of a zenwatch that sees nothing of other tests, and for which ten records are many."""
    only_here = {"CLUSTER_ID": namespace, "WATCH_NAMESPACE": namespace}
    # However far the clock is moved, the test's reports are all that there is to say.
    silent = {"TRIVY_SILENCE_AFTER": "8760h", "AUDIT_SILENCE_AFTER": "8760h"}
    yield only_here | silent | {"TRIVY_MIN_SEVERITY": "INFO", "RECORD_BUDGET": str(LIMIT)}
    cluster.kubectl("delete", "zae", "-n", "zenwatch", "-l", f"zen.kube-zen.io/cluster={namespace}")


def found(prefix: str, **severities: int) -> list[Json]:
    """So many vulnerabilities of each severity, whose IDs begin with the prefix."""
    return [
        a_vulnerability(vulnerabilityID=f"{prefix}-{severity}-{number}", severity=severity)
        for severity, count in severities.items()
        for number in range(count)
    ]


def scan(cluster: ControlPlane, namespace: str, pod: str, **severities: int) -> None:
    """This is what Trivy says of the Pod now."""
    said = {"kind": "Pod", "name": pod, "namespace": namespace}
    labels = {f"trivy-operator.resource.{part}": value for part, value in said.items()}
    apply(cluster, report_in(namespace, *found(pod, **severities), name=f"pod-{pod}", labels=labels))


@dataclass
class Store:
    """All records of one zenwatch. own: by severity, those of findings that are open. over: how many others are there, resolved.

    rollups: by source and resource, what each counts, and its phase and reason. said: of zenwatch itself, by event type.
    """

    own: Counter[str] = field(default_factory=Counter)
    over: int = 0
    rollups: dict[str, tuple[dict[str, int], tuple[str, str]]] = field(default_factory=dict)
    said: dict[str, tuple[str, str]] = field(default_factory=dict)
    records: int = 0

    @property
    def rolled_up(self) -> Counter[str]:
        """By severity, what rollups that are not over count."""
        return sum((Counter(counts) for counts, life in self.rollups.values() if life != UNROLLED), Counter[str]())


def store_of(cluster: ControlPlane, namespace: str) -> Store:
    listed = json.loads(cluster.kubectl("get", "zae", "-A", "-l", f"zen.kube-zen.io/cluster={namespace}", "-o", "json"))["items"]
    store = Store(records=len(listed))
    for record in listed:
        spec, (phase, reason, _) = record["spec"], life_of(record)
        if spec["source"] == "zenwatch":
            store.said[spec["eventType"]] = phase, reason
        elif spec["eventType"] == "rollup":
            totals = {spec["details"].pop("rolledUp"), sum(spec["details"].values()), record["status"]["count"]}
            # The status is written after the rest.
            life = (phase, reason) if len(totals) == 1 else ("Half written", "")
            store.rollups[f"{spec['source']} {spec['resource']['name']}"] = spec["details"], life
        elif phase == "Open":
            store.own[spec["severity"]] += 1
        else:
            store.over += 1
    return store


def await_store(cluster: ControlPlane, namespace: str, is_so: Callable[[Store], bool]) -> Store:
    looked: list[Store] = []

    def look() -> bool:
        looked.append(store_of(cluster, namespace))
        return is_so(looked[-1])

    eventually(look)
    return looked[-1]


def used_share(zenwatch: InProcess) -> float:
    [line] = [line for line in get(f"{zenwatch.url}/metrics")[1].splitlines() if line.startswith("zenwatch_record_budget_used_ratio ")]
    return float(line.split()[1])


def versions(cluster: ControlPlane, namespace: str) -> dict[str, str]:
    """What every write changes."""
    listed = json.loads(cluster.kubectl("get", "zae", "-A", "-l", f"zen.kube-zen.io/cluster={namespace}", "-o", "json"))["items"]
    return {record["metadata"]["name"]: record["metadata"]["resourceVersion"] for record in listed}


@pytest.fixture
def full(cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live) -> InProcess:
    """4 CRITICAL findings and 14 others, of two Pods, all there when zenwatch starts: with two rollups eight have room."""
    scan(cluster, namespace, "web", CRITICAL=4, HIGH=4, LOW=2)
    scan(cluster, namespace, "db", MEDIUM=2, LOW=6)
    zenwatch = live(**own)
    zenwatch.advance(LOOK_SECS)
    await_store(cluster, namespace, lambda store: store.said == {"record-budget": OPEN})
    return zenwatch


WEB_ROLLED_UP, DB_ROLLED_UP = {"LOW": 2}, {"MEDIUM": 2, "LOW": 6}


# ---------------------------------------------------------------- what is read


def test_what_has_no_room_is_counted_exactly_until_there_is_room_again(cluster: ControlPlane, namespace: str, full: InProcess) -> None:
    """The highest scores have the records. What is resolved makes room; what zenwatch says of it is over when it is well below."""
    store = store_of(cluster, namespace)
    assert store.own == {"CRITICAL": 4, "HIGH": 4}
    assert store.rollups == {"trivy web": (WEB_ROLLED_UP, OPEN), "trivy db": (DB_ROLLED_UP, OPEN)}
    # One more than fit is what zenwatch says of it.
    assert store.records == LIMIT + 1
    assert used_share(full) >= 1.0
    said = full.log("record_budget")[-1]
    assert (said["state"], "10 findings are rolled up. Raise RECORD_BUDGET" in said["reason"]) == ("full", True)

    # The HIGH ones are fixed: they make room for three, and the highest scores come first.
    scan(cluster, namespace, "web", CRITICAL=4, LOW=2)
    await_store(cluster, namespace, lambda store: store.over == 4)
    full.advance(LOOK_SECS)
    own = {"CRITICAL": 4, "MEDIUM": 2, "LOW": 1}
    store = await_store(cluster, namespace, lambda store: (store.own, store.rolled_up) == (own, {"LOW": 7}))
    assert (store.over, store.records) == (0, LIMIT)
    assert full.wait_for_log("records_deleted", reason="MadeRoom")["count"] == 4

    # Nearly all are: what is left has records, and nothing is rolled up.
    scan(cluster, namespace, "db", MEDIUM=2)
    full.wait_for_rounds()
    full.advance(LOOK_SECS)
    own = {"CRITICAL": 4, "MEDIUM": 2, "LOW": 2}
    await_store(cluster, namespace, lambda store: (store.own, store.rolled_up) == (own, {}))
    scan(cluster, namespace, "web", CRITICAL=3)
    full.wait_for_rounds()
    full.advance(169 * HOUR_SECS)
    full.advance(LOOK_SECS)
    left = Store(Counter(CRITICAL=3, MEDIUM=2), said={"record-budget": FIXED}, records=6)
    await_store(cluster, namespace, lambda store: store == left)
    assert full.log("record_budget")[-1]["state"] == "ok"
    assert used_share(full) < 0.75


def test_a_restart_over_a_full_budget_writes_nothing(
    cluster: ControlPlane, namespace: str, own: dict[str, str], full: InProcess, live: Live
) -> None:
    """Nor does time: what was rolled up is rolled up again, into the same records."""
    before = versions(cluster, namespace)

    zenwatch = live(**own)
    zenwatch.advance(LOOK_SECS)
    zenwatch.advance(HOUR_SECS)

    assert versions(cluster, namespace) == before


def test_a_higher_budget_gives_each_its_record_at_the_restart(
    cluster: ControlPlane, namespace: str, own: dict[str, str], full: InProcess, live: Live
) -> None:
    """What stood for them is over, and so is what zenwatch said of it; lowered again nothing that has a record loses it."""
    zenwatch = live(**own | {"RECORD_BUDGET": "40"})
    zenwatch.advance(LOOK_SECS)
    unrolled = await_store(cluster, namespace, lambda store: store.said == {"record-budget": FIXED})
    assert unrolled.own == {"CRITICAL": 4, "HIGH": 4, "MEDIUM": 2, "LOW": 8}
    assert unrolled.rollups == {"trivy web": (WEB_ROLLED_UP, UNROLLED), "trivy db": (DB_ROLLED_UP, UNROLLED)}

    zenwatch = live(**own)
    zenwatch.advance(LOOK_SECS)
    back = await_store(cluster, namespace, lambda store: store.said == {"record-budget": ("Open", "Reopened")})
    assert back.own == unrolled.own


# ---------------------------------------------------------------- what is pushed


def test_alerts_without_room_are_counted_exactly_in_one_record_of_their_resource(
    cluster: ControlPlane, namespace: str, own: dict[str, str], live: Live
) -> None:
    """Each of them, also over a restart. What has a record goes on in it; a CRITICAL alert has one whatever there is room for."""
    settings = {**own, "COALESCE_WINDOW": "0s"}
    zenwatch = live(**settings)

    def alert(rule: str, priority: str, pod: str = "web", *, times: int = 1) -> None:
        fields = {"k8s.ns.name": namespace, "k8s.pod.name": pod}
        body = about(namespace, rule=rule, priority=priority, output=f"{rule} was seen", output_fields=fields)
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
    zenwatch.advance(LOOK_SECS)
    await_store(cluster, namespace, lambda store: {life for _, life in store.rollups.values()} <= {("Resolved", "NotSeenAgain")})
    alert("warned 2", "Warning")
    await_store(cluster, namespace, lambda store: store.own == {"HIGH": 1, "MEDIUM": 1})


# ---------------------------------------------------------------- what doctor says


def test_doctor_shows_a_full_budget_until_its_advice_is_followed(
    cluster: ControlPlane, namespace: str, own: dict[str, str], start_zenwatch: Callable[..., Zenwatch]
) -> None:
    """And each line that only the process can tell, as it is."""
    kubeconfig = cluster.kubeconfig()
    scan(cluster, namespace, "web", CRITICAL=4, HIGH=4, LOW=2)
    scan(cluster, namespace, "db", MEDIUM=2, LOW=6)
    zenwatch = start_zenwatch(**own)
    zenwatch.wait_for_stored(8)
    assert post(f"{zenwatch.url}/falco/webhook", about(namespace))[0] == 200
    eventually(lambda: store_of(cluster, namespace).own["CRITICAL"] == 5)

    full = doctor(kubeconfig, "--url", zenwatch.url, **own)
    assert (full.code, full.bad()) == (2, [("process", "budget")])
    text, advice = full.text("process", "budget"), " ".join(full.advice("process", "budget"))
    assert text.endswith(" records, 0 of 200 MiB; 10 findings did not fit and are only counted")
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
    mended = doctor(kubeconfig, "--url", zenwatch.url, **settings)
    assert (mended.code, mended.bad()) == (0, [])
    assert mended.text("process", "budget").endswith(" of 40 records, 0 of 200 MiB")
