"""A week of heavy load in fast time: a day lasts a minute, and every setting is 1,440 times shorter.

10,000 events a day: tools report anew every 24 h (each report is deleted and written again), one image in twenty is replaced each day,
Falco repeats its alerts, users do what the audit log records. It lasts two days more than a week, so that retention has work.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from tests.bench.durable import post_batch
from tests.bench.figure import Figure
from tests.bench.process import Measured, zenwatch_as_pod
from tests.bench.pull import create_reports
from tests.bench.push import an_alert, say, started
from tests.bench.reports import vulnerability_report
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.components import Options

DAYS, DAY_SECS = 9, 60.0
REPORTS, FINDINGS = 300, 20
REPLACED_A_DAY = REPORTS // 20
ALERTS_A_DAY, RULES, AUDIT_EVENTS_A_DAY = 2000, 200, 2000
# 168h and 24h, with a minute for a day. Three times are not shortened as much: a round a second, because one every 21 ms would measure
# only rounds; ten seconds of grace, because kubectl needs some to delete reports and write them again; and the five minutes for which
# etcd keeps old versions.
SETTINGS = {
    "EVENT_TTL": "420s",
    "FALCO_RESOLVE_AFTER": "60s",
    "AUDIT_RESOLVE_AFTER": "420s",
    "RESOLVE_GRACE": "10s",
    "WATCH_INTERVAL": "1s",
}
HEAVY_RSS_MB = 80.0


@dataclass(frozen=True)
class Day:
    """The figures at the end of a day. requests: to the API server, during the day."""

    number: int
    rss_mb: float
    records: int
    open_records: int
    etcd_mb: float
    writes: int
    requests: int


def week_rss() -> Figure:
    """Resident memory after the last day; the table of all days goes to stderr."""
    with started(Options(audit_log=True)) as cluster:
        namespace = cluster.namespace("bench")
        create_reports(cluster, namespace, reports=REPORTS, findings=FINDINGS)
        with zenwatch_as_pod(
            cluster,
            RECORD_BUDGET="20000",
            RECORD_BUDGET_BYTES="200Mi",
            cores=None,
            AUDIT_BUFFER_SIZE="5000",
            FALCO_BUFFER_SIZE="5000",
            **SETTINGS,
        ) as zenwatch:
            url = zenwatch.url()
            zenwatch.wait_for_stored(REPORTS * FINDINGS)
            days = asyncio.run(_play(cluster, zenwatch, url, namespace))
    say("| day | RSS MB | records | open | etcd MB | writes | requests |")
    for day in days:
        say(f"| {day.number} | {day.rss_mb:.0f} | {day.records} | {day.open_records} | {day.etcd_mb:.0f} | {day.writes} | {day.requests} |")
    return Figure(days[-1].rss_mb, "MB", HEAVY_RSS_MB)


async def _play(cluster: ControlPlane, zenwatch: Measured, url: str, namespace: str) -> list[Day]:
    days: list[Day] = []
    images = dict.fromkeys(range(REPORTS), 0)
    counted = _counts(cluster)
    async with aiohttp.ClientSession() as session:
        for number in range(1, DAYS + 1):
            ends = time.perf_counter() + DAY_SECS
            await asyncio.gather(
                _spread(ends, ALERTS_A_DAY, lambda number: _alert(session, url, namespace, number)),
                _spread(ends, AUDIT_EVENTS_A_DAY // 20, lambda _: post_batch(session, url, namespace, 20)),
                asyncio.to_thread(_report_anew, cluster, namespace, images, ends),
            )
            before, counted = counted, _counts(cluster)
            status = zenwatch.status(url)
            opened = sum(source["open"] for source in status["sources"].values())
            etcd_mb = etcd_bytes(cluster) / 1e6
            days.append(
                Day(number, zenwatch.rss_mb(), status["budget"]["records"], opened, etcd_mb, counted[0] - before[0], counted[1] - before[1])
            )
            say(str(days[-1]))
    return days


async def _spread(ends: float, times: int, do: Callable[[int], Awaitable[None]]) -> None:
    began = time.perf_counter()
    for number in range(times):
        await asyncio.sleep(max(0.0, began + (ends - began) * number / times - time.perf_counter()))
        await do(number)


async def _alert(session: aiohttp.ClientSession, url: str, namespace: str, number: int) -> None:
    body = an_alert(namespace, f"rule {number % RULES}")
    async with session.post(f"{url}/falco/webhook", data=body, headers={"Content-Type": "application/json"}) as answer:
        if answer.status != 200:
            raise RuntimeError(f"{answer.status}: {await answer.text()}")


def _report_anew(cluster: ControlPlane, namespace: str, images: dict[int, int], ends: float) -> None:
    """Write each report once a day, some at a time; the reports of replaced images have other findings."""
    for number in random.Random(len(images) + images[0]).sample(range(REPORTS), REPLACED_A_DAY):  # noqa: S311  which ones does not matter
        images[number] += 1
    began, at_a_time = time.perf_counter(), 30
    for first in range(0, REPORTS, at_a_time):
        time.sleep(max(0.0, began + (ends - began) * first / REPORTS - time.perf_counter()))
        numbers = range(first, min(first + at_a_time, REPORTS))
        reports = [vulnerability_report(number, namespace=namespace, findings=FINDINGS, first=images[number] * 5) for number in numbers]
        names = [report["metadata"]["name"] for report in reports]
        cluster.kubectl("delete", "vulnerabilityreports", "-n", namespace, "--wait=false", *names)
        cluster.kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": reports}))
    time.sleep(max(0.0, ends - time.perf_counter()))


def _counts(cluster: ControlPlane) -> tuple[int, int]:
    """Return the writes to records, and all requests of zenwatch, so far."""
    account = "system:serviceaccount:zenwatch:zenwatch"
    ours = {event["auditID"]: event for event in cluster.audit_events() if event["user"]["username"] == account}
    return sum(event["verb"] in ("create", "patch", "delete") for event in ours.values()), len(ours)


def etcd_bytes(cluster: ControlPlane) -> float:
    """The size of etcd as the API server reports it."""
    for line in cluster.kubectl("get", "--raw", "/metrics").splitlines():
        if line.startswith("apiserver_storage_size_bytes"):
            return float(line.rpartition(" ")[2])
    raise RuntimeError("the API server does not tell how large etcd is")
