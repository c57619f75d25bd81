"""What zenwatch costs while it has little to do: memory, CPU of a round, requests a minute."""

import sys
import time
from functools import cache

from tests.bench.figure import Figure, NotMeasured
from tests.bench.memory import Memory
from tests.bench.process import zenwatch_as_pod
from tests.bench.pull import create_reports
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.components import Options
from tests.support.live.install import install_zenwatch

FINDINGS_PER_REPORT = 20
SETTLE_SECS = 10.0
IDLE_MINUTES = 2
# The goals of docs/specification.md, "Resource usage" are the baselines: a ratio below 1 keeps them.
TYPICAL_RSS_MB, HEAVY_RSS_MB = 50.0, 80.0
# Ours: limits.memory counts the working set.
TYPICAL_WORKING_SET_MB, HEAVY_WORKING_SET_MB = 50.0, 65.0
# 10m of one core, over an interval of 30 s.
ROUND_CPU_MS = 300.0
REQUESTS_PER_MINUTE = 30.0


def rss_1000_records() -> Figure:
    return _memory(1_000).rss(TYPICAL_RSS_MB)


def working_set_1000_records() -> Figure | NotMeasured:
    return _memory(1_000).working_set(TYPICAL_WORKING_SET_MB)


def rss_10000_records() -> Figure:
    return _memory(10_000).rss(HEAVY_RSS_MB)


def working_set_10000_records() -> Figure | NotMeasured:
    return _memory(10_000).working_set(HEAVY_WORKING_SET_MB)


def unchanged_round_cpu() -> Figure:
    """CPU time of one round of all watchers with 2,000 reports held and nothing new, idle watches included."""
    with _cluster() as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=2000, findings=5)
        # Rounds six times as often as by default, so that the clock's ticks of 10 ms tell something; a round costs the same.
        with zenwatch_as_pod(cluster, WATCH_INTERVAL="5s") as zenwatch:
            zenwatch.wait_for_stored(2000 * 5)
            time.sleep(SETTLE_SECS)
            before, rounds = zenwatch.cpu_secs(), 12
            time.sleep(5.0 * rounds)
            cpu_ms = (zenwatch.cpu_secs() - before) * 1000 / rounds
    return Figure(cpu_ms, "ms per round", ROUND_CPU_MS)


def idle_requests_per_minute() -> Figure:
    """Counted by the API server's audit log, with every tool's kinds served and 100 reports held."""
    with _cluster(Options(audit_log=True)) as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=100, findings=FINDINGS_PER_REPORT)
        with zenwatch_as_pod(cluster) as zenwatch:
            zenwatch.wait_for_stored(100 * FINDINGS_PER_REPORT)
            time.sleep(SETTLE_SECS)
            before = _requests(cluster)
            time.sleep(60.0 * IDLE_MINUTES)
            requests = _requests(cluster) - before
    return Figure(requests / IDLE_MINUTES, "requests/min", REQUESTS_PER_MINUTE)


@cache
def _memory(records: int) -> Memory:
    with _cluster() as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=records // FINDINGS_PER_REPORT, findings=FINDINGS_PER_REPORT)
        with zenwatch_as_pod(cluster) as zenwatch:
            zenwatch.wait_for_stored(records)
            time.sleep(SETTLE_SECS)
            return zenwatch.memory()


def _requests(cluster: ControlPlane) -> int:
    account = "system:serviceaccount:zenwatch:zenwatch"
    return len({event["auditID"] for event in cluster.audit_events() if event["user"]["username"] == account})


def _cluster(options: Options | None = None) -> ControlPlane:
    cluster = ControlPlane.start(options, say=lambda text: print(text, file=sys.stderr, flush=True))
    install_zenwatch(cluster)
    return cluster
