"""What the fault tests share: senders that remember what was acknowledged, and the comparison with what is stored."""

import asyncio
import itertools
import json
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.support.controlplane.cluster import ControlPlane
from tests.support.zenwatch_process import Zenwatch, eventually

# zenwatch keeps the last five.
SAMPLES = 5
# A sender that meets nobody comes again so soon, where it comes again at all.
AGAIN_SECS = 0.2
# A few rules fire again and again; the others once.
STORMS, STORM_SHARE = 10, 0.33
EVENTS_PER_BATCH = 5
# So many batches are posted twice at the same time.
TWICE_SHARE = 0.3
GIVE_UP_SECS = 60.0
Json = dict[str, Any]


@dataclass
class Fate:
    """What became of the alerts of one rule. unknown: the connection broke before the answer."""

    acknowledged: int = 0
    unknown: int = 0
    samples: set[str] = field(default_factory=set)


@dataclass
class Sent:
    """alerts: by rule. audit_ids: of batches that were acknowledged, or that may be stored. lost: alerts that were answered 503."""

    alerts: dict[str, Fate] = field(default_factory=dict)
    audit_ids: set[str] = field(default_factory=set)
    unknown_audit_ids: set[str] = field(default_factory=set)
    lost: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def acknowledged(self) -> int:
        return sum(fate.acknowledged for fate in self.alerts.values())

    @property
    def unknown(self) -> int:
        return sum(fate.unknown for fate in self.alerts.values())

    def __str__(self) -> str:
        told = ", ".join(f"{count} {answer}" for answer, count in sorted(self.answers.items()))
        return f"{self.acknowledged} alerts of {len(self.alerts)} rules acknowledged, {self.unknown} unknown; answers: {told}"


class Load:
    """Post alerts, and batches of audit events, from a thread until the block ends; whoever is not there gets nothing.

    Falco sends nothing again. The API server sends a batch again until it is taken, and sometimes one that was.
    """

    def __init__(self, url: str, namespace: str, *, alerts_per_sec: float, batches_per_sec: float = 0.0, seed: int = 1) -> None:
        self.sent = Sent()
        self._url = url
        self._namespace = namespace
        self._alerts_per_sec = alerts_per_sec
        self._batches_per_sec = batches_per_sec
        self._chance = random.Random(seed)  # noqa: S311  the same load again
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join(GIVE_UP_SECS)
        if raised is None:
            assert not self._thread.is_alive(), "the sender did not end"
            assert self._failure is None, repr(self._failure)

    def wait_for(self, acknowledged: int) -> None:
        eventually(lambda: self._failure or self.sent.acknowledged >= acknowledged)

    def wait_for_refusals(self, *, alerts: int, batches: int) -> None:
        """So many more of each."""
        lost, refused = self.sent.lost + alerts, self.sent.answers["audit 429"] + batches
        eventually(lambda: self._failure or (self.sent.lost >= lost and self.sent.answers["audit 429"] >= refused))

    def _work(self) -> None:
        try:
            asyncio.run(self._send_all())
        except BaseException as exc:  # noqa: BLE001  told in the test's own thread
            self._failure = exc

    async def _send_all(self) -> None:
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=GIVE_UP_SECS)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as self._session, asyncio.TaskGroup() as group:
            group.create_task(self._keep_pace(group, self._alerts_per_sec, self._post_alert))
            group.create_task(self._keep_pace(group, self._batches_per_sec, self._post_batch))

    async def _keep_pace(self, group: asyncio.TaskGroup, per_sec: float, post: Any) -> None:
        if not per_sec:
            return
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(max(0.0, began + number / per_sec - time.monotonic()))
            if self._ending.is_set():
                return
            group.create_task(post(number))

    # ------------------------------------------------------------ Falco

    async def _post_alert(self, number: int) -> None:
        kind = f"storm {self._chance.randrange(STORMS)}" if self._chance.random() < STORM_SHARE else f"rule {number}"
        # A key names no namespace, and another test's records may still be there.
        rule = f"{kind} of {self._namespace}"
        alert = an_alert(self._namespace, rule, number)
        status, said = await self._post("/falco/webhook", alert)
        self.sent.answers[f"falco {status if status > 0 else said}"] += 1
        fate = self.sent.alerts.get(rule) or Fate()
        match status:
            case 200:
                fate.acknowledged += 1
            case 0:
                fate.unknown += 1
            case 503 if "lost" in said:
                self.sent.lost += 1
                return
            case 503:
                # Too many bodies at once: it was not read.
                return
            case -1:
                return
            case _:
                raise AssertionError(f"{status}: {said}")
        fate.samples.add(alert["output"])
        self.sent.alerts[rule] = fate

    # ------------------------------------------------------------ the API server

    async def _post_batch(self, number: int) -> None:
        ids = [f"{self._namespace}-{number}-{place}" for place in range(EVENTS_PER_BATCH)]
        # The same request is told of in two batches now and then, and batches overtake each other.
        again = [f"{self._namespace}-{number - 1}-{place}" for place in range(2)] if number else []
        batch = an_event_list(self._namespace, [*ids, *again])
        copies = 2 if self._chance.random() < TWICE_SHARE else 1
        async with asyncio.TaskGroup() as group:
            for _ in range(copies):
                group.create_task(self._post_until_taken(batch, [*ids, *again]))

    async def _post_until_taken(self, batch: Json, ids: Sequence[str]) -> None:
        deadline = time.monotonic() + GIVE_UP_SECS
        while time.monotonic() < deadline:
            status, said = await self._post("/audit/webhook", batch)
            self.sent.answers[f"audit {status if status > 0 else said}"] += 1
            if status == 200:
                self.sent.audit_ids.update(ids)
                return
            if status == 0:
                self.sent.unknown_audit_ids.update(ids)
            elif status not in (-1, 429, 503):
                raise AssertionError(f"{status}: {said}")
            if self._ending.is_set() and status == -1:
                # Nobody will come back.
                return
            await asyncio.sleep(AGAIN_SECS)

    async def _post(self, path: str, body: Json) -> tuple[int, str]:
        """Status and text. 0: the connection broke before the answer; -1: there was none."""
        try:
            async with self._session.post(self._url + path, json=body) as answer:
                return answer.status, await answer.text()
        except aiohttp.ClientConnectorError:
            return -1, "nobody there"
        except (aiohttp.ClientError, ConnectionError):
            return 0, "broken off"


def an_alert(namespace: str, rule: str, number: int) -> Json:
    """All alerts of a rule have one key: it ends before the number, which makes each sample another one."""
    when = f"{10 + number // 3600 % 12}:{number // 60 % 60:02}:{number % 60:02}.{number:09}"
    return {
        "output": f"{when}: Notice A shell was spawned in a container with an attached terminal (user=root shot={number})",
        "priority": "Notice",
        "rule": rule,
        "source": "syscall",
        "time": f"2026-05-25T{when}Z",
        "output_fields": {"container.id": "ee97d9c4186f", "k8s.ns.name": namespace, "k8s.pod.name": "web", "proc.name": "sh"},
    }


def an_event_list(namespace: str, audit_ids: Sequence[str]) -> Json:
    """Somebody deleted secrets."""
    events = [
        {
            "level": "Metadata",
            "auditID": audit_id,
            "stage": "ResponseComplete",
            "requestURI": f"/api/v1/namespaces/{namespace}/secrets/login",
            "verb": "delete",
            "user": {"username": "alice", "groups": ["developers", "system:authenticated"]},
            "sourceIPs": ["192.0.2.10"],
            "userAgent": "kubectl/v1.36.3",
            "objectRef": {"resource": "secrets", "namespace": namespace, "name": "login", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200},
            "requestReceivedTimestamp": "2026-05-25T10:00:00.946487Z",
            "stageTimestamp": "2026-05-25T10:00:01.948683Z",
        }
        for audit_id in audit_ids
    ]
    return {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": events}


# ---------------------------------------------------------------- what is stored


def wait_until_drained(zenwatch: Zenwatch, *, within_secs: float = 30.0) -> float:
    """Until nothing is in flight and nothing is in the spool; return how long that took."""
    began = time.monotonic()
    eventually(lambda: _waiting(zenwatch) == {}, within_secs=within_secs)
    return time.monotonic() - began


def _waiting(zenwatch: Zenwatch) -> dict[str, float]:
    series = ("zenwatch_findings_in_flight", "zenwatch_buffer_events", "zenwatch_spool_bytes")
    read = metrics(zenwatch)
    return {name: value for name, value in read.items() if value and name.partition("{")[0] in series}


def metrics(zenwatch: Zenwatch) -> Mapping[str, float]:
    with urllib.request.urlopen(f"{zenwatch.url}/metrics", timeout=20) as answer:  # noqa: S310  our own server
        text = answer.read().decode()
    return {name: float(value) for name, value in re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def records_of(cluster: ControlPlane, namespace: str, source: str) -> list[Json]:
    return list(json.loads(cluster.kubectl("get", "zae", "-n", namespace, "-l", f"source={source}", "-o", "json"))["items"])


def remove_records(cluster: ControlPlane, namespace: str) -> None:
    """So that the next tests' zenwatch need not read thousands of them back."""
    cluster.kubectl("delete", "--raw", f"/apis/zen.kube-zen.io/v1/namespaces/{namespace}/zenagentevents")


def differences(cluster: ControlPlane, namespace: str, sent: Sent) -> list[str]:
    """A sentence for each record that is missing, too many, or says something wrong."""
    told = [*_of_alerts(records_of(cluster, namespace, "falco"), sent)]
    return [*told, *_of_audit(records_of(cluster, namespace, "audit"), sent)]


def _of_alerts(records: Sequence[Json], sent: Sent) -> Iterator[str]:
    stored: dict[str, Json] = {}
    for record in records:
        rule = record["spec"]["details"]["rule"]
        if rule in stored:
            yield f"{rule}: two records"
        stored[rule] = record
    yield from (f"{rule}: stored and never sent" for rule in stored.keys() - sent.alerts.keys())
    for rule, fate in sent.alerts.items():
        most = fate.acknowledged + fate.unknown
        record = stored.get(rule, {})
        count = record.get("status", {}).get("count", 0) if record else 0
        if not fate.acknowledged <= count <= most:
            yield f"{rule}: count {count}, sent {fate.acknowledged} to {most}"
        if record:
            samples = record["spec"]["details"]["samples"]
            if len(samples) != min(SAMPLES, count) or not set(samples) <= fate.samples:
                yield f"{rule}: count {count}, samples {samples}"


def _of_audit(records: Sequence[Json], sent: Sent) -> Iterator[str]:
    stored = Counter(record["spec"]["details"]["auditID"] for record in records)
    yield from (f"{audit_id}: not stored" for audit_id in sent.audit_ids - stored.keys())
    yield from (f"{audit_id}: {count} records" for audit_id, count in stored.items() if count != 1)
    yield from (f"{audit_id}: stored and never sent" for audit_id in stored.keys() - sent.audit_ids - sent.unknown_audit_ids)
    yield from (f"{r['spec']['key']}: count {r['status']['count']}" for r in records if r["status"]["count"] != 1)


# ---------------------------------------------------------------- the ledger


def ledger_of(zenwatch: Zenwatch, source: str) -> Mapping[str, int]:
    """After it ended. It balances, and says nothing of what nobody sent."""
    page: Mapping[str, int] = next(line for line in zenwatch.log("ledger") if line["source"] == source)
    outcomes = ("stored", "repeated", "filtered", "rejected", "dead_lettered", "lost", "in_flight")
    assert page["received"] == sum(page[outcome] for outcome in outcomes), page
    assert min(page[outcome] for outcome in outcomes) >= 0, page
    assert (page["filtered"], page["rejected"], page["dead_lettered"]) == (0, 0, 0), page
    return page


def wrong_in_ledger(zenwatch: Zenwatch, sent: Sent) -> list[str]:
    """A sentence for each line that is not what was sent. For one process that began with nothing, ended, and answered everything."""
    assert sent.unknown == 0, sent
    falco = ledger_of(zenwatch, "falco")
    should = {"stored": len(sent.alerts), "repeated": sent.acknowledged - len(sent.alerts), "lost": sent.lost, "in_flight": 0}
    told = [f"falco: {line} is {falco[line]}, not {value}" for line, value in should.items() if falco[line] != value]
    if sent.audit_ids:
        audit = ledger_of(zenwatch, "audit")
        should = {"stored": len(sent.audit_ids), "lost": 0, "in_flight": 0}
        told += [f"audit: {line} is {audit[line]}, not {value}" for line, value in should.items() if audit[line] != value]
    return told
