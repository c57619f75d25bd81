"""How soon a pushed event is a record, how many are accepted, and for how long the loop is held meanwhile."""

import asyncio
import ssl
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any

import aiohttp
import orjson

from tests.bench.figure import Figure
from tests.bench.process import Measured, zenwatch_as_pod
from tests.support.controlplane.audit import DEFAULT_POLICY
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.components import Options
from tests.support.live.install import install_zenwatch

ALERTS, ALERTS_PER_SEC = 1500, 50
WARM_UP_ALERTS = 50
EVENTS_PER_BATCH = 400
BATCHES, SENDERS = 200, 4
LARGE_BODY_BYTES, LARGE_BODIES = 10_000_000, 12
# The goals are the baselines: a ratio below 1 is good for the times, one above 1 for the rate.
VISIBLE_P50_MS, VISIBLE_P99_MS = 20.0, 100.0
EVENTS_PER_SEC = 4000.0
LOOP_HELD_MS = 50.0


def falco_visible_p50() -> Figure:
    return Figure(percentile(_visible_ms(), 50), "ms", VISIBLE_P50_MS)


def falco_visible_p99() -> Figure:
    return Figure(percentile(_visible_ms(), 99), "ms", VISIBLE_P99_MS)


def audit_events_per_second() -> Figure:
    """Events in batches of 400 that one core accepts with 2xx and stores meanwhile; refused batches are sent again."""
    return Figure(_audit()[0], "events/s", EVENTS_PER_SEC)


def loop_held_max() -> Figure:
    """The longest CPU time of the loop's thread without a break, during those batches and during bodies of 10 MB of whole Pods."""
    return Figure(_audit()[1], "ms", LOOP_HELD_MS)


# ---------------------------------------------------------------- Falco


@cache
def _visible_ms() -> tuple[float, ...]:
    """For each alert, the time from its POST until a watch has its record."""
    with started() as cluster, zenwatch_as_pod(cluster) as zenwatch:
        return asyncio.run(time_alerts(cluster, zenwatch.url(), cluster.namespace("bench")))


async def time_alerts(cluster: ControlPlane, url: str, namespace: str) -> tuple[float, ...]:
    posted: dict[str, float] = {}
    seen: dict[str, float] = {}
    async with aiohttp.ClientSession() as sender, _watching(cluster) as watcher:
        watching = asyncio.create_task(_watch(watcher, cluster, namespace, seen))
        await asyncio.sleep(2)
        start = time.perf_counter()
        posts = []
        for number in range(WARM_UP_ALERTS + ALERTS):
            await asyncio.sleep(max(0.0, start + number / ALERTS_PER_SEC - time.perf_counter()))
            posts.append(asyncio.create_task(_post_alert(sender, url, namespace, f"rule {number}", posted)))
        await asyncio.gather(*posts)
        async with asyncio.timeout(60):
            while len(seen) < len(posts):  # noqa: ASYNC110  the watch sets no event
                await asyncio.sleep(0.1)
        watching.cancel()
    return tuple((seen[rule] - posted[rule]) * 1000 for rule in islice(posted, WARM_UP_ALERTS, None))


def an_alert(namespace: str, rule: str) -> bytes:
    """The body that Falco posts."""
    alert = {
        "output": "13:44:05.478445995: Notice A shell was spawned in a container with an attached terminal (user=root shell=sh)",
        "priority": "Notice",
        "rule": rule,
        "source": "syscall",
        "time": "2026-05-25T13:44:05.478445995Z",
        "output_fields": {"container.id": "ee97d9c4186f", "k8s.ns.name": namespace, "k8s.pod.name": "web", "proc.name": "sh"},
    }
    return orjson.dumps(alert)


async def _post_alert(sender: aiohttp.ClientSession, url: str, namespace: str, rule: str, posted: dict[str, float]) -> None:
    posted[rule] = time.perf_counter()
    async with sender.post(f"{url}/falco/webhook", data=an_alert(namespace, rule), headers={"Content-Type": "application/json"}) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {await answer.text()}")


def _watching(cluster: ControlPlane) -> aiohttp.ClientSession:
    pod = cluster.in_pod("zenwatch", "zenwatch")
    token = (pod.folder / "token").read_text()
    tls = ssl.create_default_context(cafile=str(pod.folder / "ca.crt"))
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls), headers={"Authorization": f"Bearer {token}"}, timeout=aiohttp.ClientTimeout(total=None)
    )


async def _watch(session: aiohttp.ClientSession, cluster: ControlPlane, namespace: str, seen: dict[str, float]) -> None:
    url = f"{cluster.server}/apis/zen.kube-zen.io/v1/namespaces/{namespace}/zenagentevents?watch=true"
    async with session.get(url) as answer:
        async for line in answer.content:
            change = orjson.loads(line)
            if change["type"] == "ADDED":
                seen.setdefault(change["object"]["spec"]["details"]["rule"], time.perf_counter())


# ---------------------------------------------------------------- audit


@cache
def _audit() -> tuple[float, float]:
    """Return events per second, and the longest time that the loop was held."""
    with started(Options(audit_log=True, audit_policy=DEFAULT_POLICY)) as cluster:
        events = _real_events(cluster)
        # The API server and the sender have the other core.
        with zenwatch_as_pod(cluster, cores={0}, BENCH_PROBE="1") as zenwatch:
            url = zenwatch.url()
            zenwatch.loop_held_ms()
            rate = asyncio.run(_send_batches(url, events))
            during_batches = zenwatch.loop_held_ms()
            asyncio.run(_send_large(url, events))
            during_large = zenwatch.loop_held_ms()
            _report(zenwatch, during_batches, during_large)
    return rate, max(during_batches, during_large)


def _real_events(cluster: ControlPlane) -> list[dict[str, Any]]:
    """Return the audit events of a cluster that started and in which some work was done."""
    namespace = cluster.namespace("bench")
    for number in range(15):
        cluster.kubectl("create", "configmap", f"settings-{number}", "--from-literal=a=b", "-n", namespace)
        cluster.kubectl("get", "pods,services,configmaps", "-n", namespace)
    cluster.kubectl("create", "secret", "generic", "login", "--from-literal=a=b", "-n", namespace)
    cluster.kubectl("delete", "configmap", "settings-0", "-n", namespace)
    return list(cluster.audit_events())


def _batches(events: list[dict[str, Any]]) -> Iterator[bytes]:
    """Repeat real events, each time with new IDs, as a busy cluster sends them."""
    first = 0
    while True:
        batch = [events[(first + number) % len(events)] | {"auditID": str(uuid.uuid4())} for number in range(EVENTS_PER_BATCH)]
        first += EVENTS_PER_BATCH
        yield orjson.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": batch})


async def _send_batches(url: str, events: list[dict[str, Any]]) -> float:
    bodies = list(islice(_batches(events), BATCHES))
    size_mb = sum(map(len, bodies)) / 1e6
    again = 0

    async def send(session: aiohttp.ClientSession) -> None:
        nonlocal again
        while bodies:
            body = bodies.pop()
            while not await _posted(session, url, body):
                again += 1
                await asyncio.sleep(0.05)

    async with aiohttp.ClientSession() as session:
        await _posted(session, url, next(_batches(events)))
        start = time.perf_counter()
        await asyncio.gather(*(send(session) for _ in range(SENDERS)))
        taken_secs = time.perf_counter() - start
    say(f"{BATCHES} batches, {size_mb:.0f} MB, in {taken_secs:.1f} s; {again} were refused with 429 and sent again")
    return BATCHES * EVENTS_PER_BATCH / taken_secs


async def _posted(session: aiohttp.ClientSession, url: str, body: bytes) -> bool:
    async with session.post(f"{url}/audit/webhook", data=body, headers={"Content-Type": "application/json"}) as answer:
        if answer.status not in (200, 429):
            raise RuntimeError(f"{answer.status}: {await answer.text()}")
        return answer.status == 200


async def _send_large(url: str, events: list[dict[str, Any]]) -> None:
    pod = {
        "spec": {
            "containers": [
                {"name": f"c{number}", "image": "registry.test/app:1", "env": [{"name": "A", "value": "b" * 50}] * 20}
                for number in range(10)
            ]
        }
    }
    plain = next(event for event in events if event["verb"] == "create")
    large = plain | {"verb": "create", "objectRef": {"resource": "pods", "namespace": "bench", "apiVersion": "v1"}, "requestObject": pod}
    count = LARGE_BODY_BYTES // len(orjson.dumps(large))
    async with aiohttp.ClientSession() as session:
        for _ in range(LARGE_BODIES):
            items = [large | {"auditID": str(uuid.uuid4())} for _ in range(count)]
            body = orjson.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": items})
            while not await _posted(session, url, body):  # noqa: ASYNC110  a refused body is sent again later
                await asyncio.sleep(0.1)
    say(f"{LARGE_BODIES} bodies of {LARGE_BODY_BYTES / 1e6:.0f} MB with {count} events each")


def _report(zenwatch: Measured, during_batches: float, during_large: float) -> None:
    say(f"loop held {during_batches:.1f} ms at most during batches of {EVENTS_PER_BATCH}, {during_large:.1f} ms during large bodies")
    say(f"{zenwatch.cpu_secs():.1f} s of CPU, {zenwatch.rss_mb():.0f} MB afterwards")


def percentile(values: tuple[float, ...], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


def started(options: Options | None = None) -> ControlPlane:
    cluster = ControlPlane.start(options, say=say)
    install_zenwatch(cluster)
    return cluster


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
