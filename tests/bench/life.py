"""The cost of knowing what is open: a restart, 100,000 records in memory, and the query for the worst ones."""

import json
import time
import urllib.request
from functools import cache
from statistics import median

from tests.bench.figure import Figure
from tests.bench.process import Measured, zenwatch_as_pod
from tests.bench.pull import create_reports
from tests.bench.push import say
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.components import Options
from tests.support.live.install import install_zenwatch

REPORTS, FINDINGS = 2_000, 10
MANY_REPORTS, MANY_FINDINGS = 5_000, 20
SETTLE_SECS = 10.0
# The goals are the baselines: a ratio below 1 is good. The baseline of writes is one for each record.
READY_SECS, OPEN_RSS_MB, TOP_MS = 10.0, 150.0, 50.0
ASKED = 21


def restart_ready() -> Figure:
    """From the start of the process until its first round over 2,000 reports is done, with 20,000 records stored."""
    return Figure(_restart()[0], "s", READY_SECS)


def restart_writes() -> Figure:
    """The writes of that process to records, counted in the API server's audit log."""
    return Figure(_restart()[1], "writes", float(REPORTS * FINDINGS))


def rss_100k_open() -> Figure:
    """Resident memory of the process that stored 100,000 records of 5,000 reports."""
    return Figure(_open()[0], "MB", OPEN_RSS_MB)


def top_ms() -> Figure:
    """GET /top over those 100,000 records, from request to answer: the median over all dimensions."""
    return Figure(_open()[1], "ms", TOP_MS)


@cache
def _restart() -> tuple[float, float]:
    with _cluster(Options(audit_log=True)) as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=REPORTS, findings=FINDINGS)
        with zenwatch_as_pod(cluster) as zenwatch:
            zenwatch.wait_for_stored(REPORTS * FINDINGS)
        before = _writes(cluster)
        began = time.perf_counter()
        with zenwatch_as_pod(cluster) as zenwatch:
            zenwatch.wait_for_round("trivy", received=REPORTS * FINDINGS)
            ready_secs = time.perf_counter() - began
            say(f"ready after {ready_secs:.1f} s and {zenwatch.cpu_secs():.1f} s of CPU, {zenwatch.rss_mb():.0f} MB")
            time.sleep(SETTLE_SECS)
        return ready_secs, float(_writes(cluster) - before)


@cache
def _open() -> tuple[float, float]:
    with _cluster() as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=MANY_REPORTS, findings=MANY_FINDINGS)
        with zenwatch_as_pod(cluster, API_RATE="5000") as zenwatch:
            url = zenwatch.url()
            zenwatch.wait_for_stored(MANY_REPORTS * MANY_FINDINGS)
            time.sleep(SETTLE_SECS)
            rss_mb = zenwatch.rss_mb()
            return rss_mb, _ask_for_the_worst(url, zenwatch)


def _ask_for_the_worst(url: str, zenwatch: Measured) -> float:
    took_ms: list[float] = []
    for dimension in ("cve", "namespace", "image") * (ASKED // 3):
        began = time.perf_counter()
        with urllib.request.urlopen(f"{url}/top?by={dimension}", timeout=30) as answer:  # noqa: S310  our own
            response = json.load(answer)
        took_ms.append((time.perf_counter() - began) * 1000)
        if not response["groups"]:
            raise RuntimeError(f"no record has a {dimension}")
    say(f"asked {len(took_ms)} times: at most {max(took_ms):.1f} ms; {zenwatch.rss_mb():.0f} MB")
    return median(took_ms)


def _writes(cluster: ControlPlane) -> int:
    account = "system:serviceaccount:zenwatch:zenwatch"
    return sum(
        event["user"]["username"] == account
        and event.get("objectRef", {}).get("resource") == "zenagentevents"
        and event["verb"] not in ("get", "list", "watch")
        and event["stage"] == "ResponseComplete"
        for event in cluster.audit_events()
    )


def _cluster(options: Options | None = None) -> ControlPlane:
    cluster = ControlPlane.start(options, say=say)
    install_zenwatch(cluster)
    return cluster
