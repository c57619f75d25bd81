"""The cost of losing nothing: the spool, its backlog, and an API server that was away."""

import asyncio
import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp

from tests.bench.figure import Figure, NotMeasured
from tests.bench.memory import Memory
from tests.bench.process import Measured, zenwatch_as_pod
from tests.bench.pull import minimal_client_rate
from tests.bench.push import an_alert, say, started
from tests.support.controlplane.cluster import ControlPlane

EVENTS_PER_BATCH = 100
RECORDS = 10_000
SPOOLED = 100_000
ACCEPTED_ALERTS, CONNECTIONS = 12_000, 64
OUTAGE_SECS, OUTAGE_ALERTS_PER_SEC = 60.0, 100
# The goals are the baselines of figures that have no other in the same run.
DAY_RSS_MB, SPOOL_RSS_MB, DRAIN_SECS = 80.0, 120.0, 60.0


def webhook_records_per_second() -> Figure:
    """Audit events that all become records, in batches, from the first POST to the last record; baseline: a minimal client."""
    with started() as cluster:
        namespace = cluster.namespace("bench")
        before = minimal_client_rate(cluster, namespace)
        with zenwatch_as_pod(cluster, AUDIT_BUFFER_SIZE="1000") as zenwatch:
            passed_secs = asyncio.run(store_batches(zenwatch, namespace, RECORDS))
        after = minimal_client_rate(cluster, namespace)
    return Figure(RECORDS / passed_secs, "records/s", (before + after) / 2)


def rss_10k_day() -> Figure:
    """A day of the specification's heavy load, 10,000 events, as fast as they go, and what is resident afterwards."""
    return _day().rss(DAY_RSS_MB)


def working_set_10k_day() -> Figure | NotMeasured:
    return _day().working_set(DAY_RSS_MB)


@cache
def _day() -> Memory:
    with started() as cluster:
        namespace = cluster.namespace("bench")
        with zenwatch_as_pod(cluster) as zenwatch:
            asyncio.run(store_batches(zenwatch, namespace, RECORDS))
            time.sleep(5)
            return zenwatch.memory()


def rss_spool_100k() -> Figure:
    """With 100,000 events in the spool and no API server to store them."""
    return _spooled().rss(SPOOL_RSS_MB)


def working_set_spool_100k() -> Figure | NotMeasured:
    return _spooled().working_set(SPOOL_RSS_MB)


@cache
def _spooled() -> Memory:
    with started() as cluster, _folder() as spool, zenwatch_as_pod(cluster, SPOOL_DIR=spool, API_TIMEOUT="2s") as zenwatch:
        url = zenwatch.url()
        cluster.stop_apiserver()
        asyncio.run(_fill(url, cluster, SPOOLED))
        time.sleep(5)
        return zenwatch.memory()


def spool_accept_per_second() -> Figure:
    """Alerts that 64 connections post and that are synced to disk before the answer; baseline: without a spool. No API server runs."""
    rates: list[float] = []
    with started() as cluster, _folder() as spool:
        for spool_dir in ("", spool):
            with zenwatch_as_pod(cluster, FALCO_BUFFER_SIZE="1000000", API_TIMEOUT="2s", SPOOL_DIR=spool_dir) as zenwatch:
                url = zenwatch.url()
                cluster.stop_apiserver()
                rates.append(asyncio.run(_accept(url)))
                say(f"{'with' if spool_dir else 'without'} a spool: {rates[-1]:.0f} alerts/s, {zenwatch.cpu_secs():.1f} s of CPU")
                zenwatch.kill()
            cluster.start_apiserver()
    return Figure(rates[1], "alerts/s", rates[0])


def api_outage_drain() -> Figure:
    """The time to store what came in 60 s without an API server, 100 alerts a second, from the moment when it is ready again."""
    with started() as cluster, _folder() as spool:
        namespace = cluster.namespace("bench")
        with zenwatch_as_pod(cluster, SPOOL_DIR=spool) as zenwatch:
            url = zenwatch.url()
            cluster.stop_apiserver()
            sent = asyncio.run(_send_at_rate(url, namespace))
            cluster.start_apiserver()
            back = time.perf_counter()
            asyncio.run(_until_stored(url, "falco", sent))
            return Figure(time.perf_counter() - back, "s", DRAIN_SECS)


# ---------------------------------------------------------------- what is sent


def _deletion(namespace: str) -> dict[str, Any]:
    return {
        "level": "Metadata",
        "auditID": str(uuid.uuid4()),
        "stage": "ResponseComplete",
        "requestURI": f"/api/v1/namespaces/{namespace}/configmaps/settings",
        "verb": "delete",
        "user": {"username": "alice", "groups": ["ops", "system:authenticated"]},
        "sourceIPs": ["10.0.0.1"],
        "userAgent": "kubectl/v1.36.3 (linux/amd64) kubernetes/0000000",
        "objectRef": {"resource": "configmaps", "namespace": namespace, "name": "settings", "apiVersion": "v1"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
    }


async def post_batch(session: aiohttp.ClientSession, url: str, namespace: str, events: int) -> None:
    body = json.dumps(
        {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [_deletion(namespace) for _ in range(events)]}
    ).encode()
    while True:
        async with session.post(f"{url}/audit/webhook", data=body, headers={"Content-Type": "application/json"}) as answer:
            if answer.status == 200:
                return
            if answer.status != 429:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")
            await asyncio.sleep(float(answer.headers["Retry-After"]))


async def store_batches(zenwatch: Measured, namespace: str, events: int) -> float:
    url = zenwatch.url()
    async with aiohttp.ClientSession() as session:
        while await _metric(session, url, "zenwatch_records_indexed") is None:  # noqa: ASYNC110  a metric sets no event
            await asyncio.sleep(0.1)
        began = time.perf_counter()
        batches = iter(range(events // EVENTS_PER_BATCH))

        async def send() -> None:
            for _ in batches:
                await post_batch(session, url, namespace, EVENTS_PER_BATCH)

        await asyncio.gather(*(send() for _ in range(4)))
    await _until_stored(url, "audit", events)
    return time.perf_counter() - began


async def _fill(url: str, _cluster: ControlPlane, events: int) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(events // 400):
            await post_batch(session, url, "default", 400)


async def _accept(url: str) -> float:
    bodies = [an_alert("default", f"rule {number}") for number in range(ACCEPTED_ALERTS)]
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def send() -> None:
            while bodies:
                async with session.post(f"{url}/falco/webhook", data=bodies.pop(), headers={"Content-Type": "application/json"}) as answer:
                    if answer.status != 200:
                        raise RuntimeError(f"{answer.status}: {await answer.text()}")

        began = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(CONNECTIONS)))
        return ACCEPTED_ALERTS / (time.perf_counter() - began)


async def _send_at_rate(url: str, namespace: str) -> int:
    alerts = int(OUTAGE_SECS * OUTAGE_ALERTS_PER_SEC)
    async with aiohttp.ClientSession() as session:
        began = time.perf_counter()
        for number in range(alerts):
            await asyncio.sleep(max(0.0, began + number / OUTAGE_ALERTS_PER_SEC - time.perf_counter()))
            body = an_alert(namespace, f"rule {number}")
            async with session.post(f"{url}/falco/webhook", data=body, headers={"Content-Type": "application/json"}) as answer:
                if answer.status != 200:
                    raise RuntimeError(f"{answer.status}: {await answer.text()}")
    return alerts


# ---------------------------------------------------------------- metrics


async def _until_stored(url: str, source: str, events: int) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(300):
        wanted = f'zenwatch_findings_settled_total{{cluster_id="local",outcome="stored",source="{source}"}}'
        while (await _metric(session, url, wanted) or 0) < events:  # noqa: ASYNC110  a metric sets no event
            await asyncio.sleep(0.1)


async def _metric(session: aiohttp.ClientSession, url: str, name: str) -> float | None:
    async with session.get(f"{url}/metrics") as answer:
        for line in (await answer.text()).splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
    return None


@contextmanager
def _folder() -> Iterator[str]:
    folder = tempfile.mkdtemp(prefix="zenwatch-spool-")
    try:
        yield folder
    finally:
        shutil.rmtree(Path(folder))
