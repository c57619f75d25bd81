"""What a namespace that refuses all records costs the others: at once (a quota) and after 10 s (a webhook that never answers)."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import aiohttp

from tests.bench.figure import Figure
from tests.bench.process import zenwatch_as_pod
from tests.bench.pull import create_reports
from tests.bench.push import an_alert, percentile, say, started, time_alerts
from tests.support.controlplane.cluster import ControlPlane
from tests.support.faults.silent_webhook import silent_webhook
from tests.support.live.objects import remove_records

REFUSED = 1000
REPORTS, FINDINGS = 50, 20
# The goals are the baselines.
PUSH_P99_MS, ROUND_RATIO = 200.0, 1.2

Refusal = Callable[[ControlPlane, str], AbstractContextManager[None]]


def refused_neighbour_push() -> Figure:
    """From the POST of an alert until a watch has its record, 99th percentile, while 1,000 alerts of another namespace are refused."""
    longest_ms = 0.0
    for refusal in (quota, silent_webhook):
        with started() as cluster, zenwatch_as_pod(cluster) as zenwatch:
            refused = cluster.namespace("refused")
            with refusal(cluster, refused):
                took_ms = asyncio.run(_time_beside(cluster, zenwatch.url(), refused))
        p50_ms, p99_ms = percentile(took_ms, 50), percentile(took_ms, 99)
        say(f"{refusal.__name__}: p50 {p50_ms:.1f} ms, p99 {p99_ms:.1f} ms")
        longest_ms = max(longest_ms, p99_ms)
    return Figure(longest_ms, "ms", PUSH_P99_MS)


def refused_neighbour_round() -> Figure:
    """From the start until a round has stored 1,000 findings, beside 1,000 that are refused, divided by the same without those."""
    with started() as cluster:
        healthy, refused = cluster.namespace("healthy"), cluster.namespace("refused")
        create_reports(cluster, healthy, reports=REPORTS, findings=FINDINGS)
        alone_secs = [_secs_until_stored(cluster, healthy) for _ in range(3)]
        create_reports(cluster, refused, reports=REPORTS, findings=FINDINGS)
        ratio = 0.0
        for refusal in (quota, silent_webhook):
            with refusal(cluster, refused):
                beside_secs = [_secs_until_stored(cluster, healthy) for _ in range(3)]
            say(f"{refusal.__name__}: {sorted(beside_secs)} s, alone {sorted(alone_secs)} s")
            ratio = max(ratio, sorted(beside_secs)[1] / sorted(alone_secs)[1])
    return Figure(ratio, "times as long", ROUND_RATIO)


@contextmanager
def quota(cluster: ControlPlane, namespace: str) -> Iterator[None]:
    """No record may be created in this namespace."""
    spec = {"hard": {"count/zenagentevents.zen.kube-zen.io": "0"}}
    manifest = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": namespace}, "spec": spec}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    # No controller computes the status of a quota here.
    status = json.dumps({"status": spec | {"used": {"count/zenagentevents.zen.kube-zen.io": "0"}}})
    cluster.kubectl("patch", "resourcequota", "none", "-n", namespace, "--subresource=status", "--type=merge", "-p", status)
    try:
        yield
    finally:
        cluster.kubectl("delete", "resourcequota", "none", "-n", namespace)


async def _time_beside(cluster: ControlPlane, url: str, refused: str) -> tuple[float, ...]:
    posting = asyncio.create_task(_post_refused(url, refused))
    took_ms = await time_alerts(cluster, url, cluster.namespace("healthy"))
    await posting
    return took_ms


async def _post_refused(url: str, namespace: str) -> None:
    """As fast as they are accepted."""
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        for number in range(REFUSED):
            while True:
                async with session.post(f"{url}/falco/webhook", data=an_alert(namespace, f"refused {number}")) as answer:
                    if answer.status == 200:
                        break
                await asyncio.sleep(0.1)


def _secs_until_stored(cluster: ControlPlane, namespace: str) -> float:
    remove_records(cluster, namespace)
    with zenwatch_as_pod(cluster) as zenwatch:
        began = time.perf_counter()
        zenwatch.wait_for_stored(REPORTS * FINDINGS)
        took_secs = time.perf_counter() - began
        zenwatch.kill()
    return round(took_secs, 2)
