"""The cost of a small store: deletions beside new alerts, bytes in etcd, and 100,000 findings under the default budget."""

import asyncio
import time
from functools import cache

from tests.bench.durable import store_batches
from tests.bench.figure import Figure
from tests.bench.process import zenwatch_as_pod
from tests.bench.pull import create_reports
from tests.bench.push import percentile, say, started, time_alerts
from tests.bench.week import etcd_bytes
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.components import Options

EXPIRED = 20_000
# The defaults and the goals are the baselines.
GC_RATE, GC_FALCO_P99_MS = 20.0, 200.0
RECORD_BUDGET = 20_000
REPORTS, FINDINGS = 5_000, 20
SIZED_REPORTS = 500


def gc_requests_per_second() -> Figure:
    """DELETEs of the 20,000 expired records, by the API server's audit log, while alerts are posted; baseline: GC_RATE."""
    return Figure(_collected()[0], "requests/s", GC_RATE)


def gc_falco_p99() -> Figure:
    """From the POST of an alert until a watch has its record, during these deletions."""
    return Figure(_collected()[1], "ms", GC_FALCO_P99_MS)


def etcd_bytes_per_record() -> Figure:
    """The growth of etcd for 10,000 new records, as the API server reports it; baseline: the size that zenwatch expects."""
    with started() as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=SIZED_REPORTS, findings=FINDINGS)
        before = etcd_bytes(cluster)
        with zenwatch_as_pod(cluster) as zenwatch:
            url = zenwatch.url()
            zenwatch.wait_for_stored(SIZED_REPORTS * FINDINGS)
            reckoned = zenwatch.status(url)["budget"]
        grown = etcd_bytes(cluster) - before
    return Figure(grown / (SIZED_REPORTS * FINDINGS), "bytes", reckoned["bytes"] / reckoned["records"])


def rollup_records() -> Figure:
    """The number of records for 100,000 findings of 5,000 resources under the default budget; baseline: that budget."""
    with started() as cluster:
        create_reports(cluster, cluster.namespace("bench"), reports=REPORTS, findings=FINDINGS)
        with zenwatch_as_pod(cluster, RECORD_BUDGET=str(RECORD_BUDGET), RECORD_BUDGET_BYTES="200Mi") as zenwatch:
            url = zenwatch.url()
            began = time.perf_counter()
            zenwatch.wait_for_round("trivy", received=REPORTS * FINDINGS)
            budget = zenwatch.status(url)["budget"]
            say(f"{budget} after {time.perf_counter() - began:.0f} s, {zenwatch.cpu_secs():.0f} s of CPU, {zenwatch.rss_mb():.0f} MB")
            return Figure(float(budget["records"]), "records", float(RECORD_BUDGET))


@cache
def _collected() -> tuple[float, float]:
    with started(Options(audit_log=True)) as cluster:
        with zenwatch_as_pod(cluster, AUDIT_BUFFER_SIZE="1000") as zenwatch:
            asyncio.run(store_batches(zenwatch, cluster.namespace("bench"), EXPIRED))
        # Storing them took longer than that. The alerts will be as old soon, behind 20,000 others.
        with zenwatch_as_pod(cluster, EVENT_TTL="10s") as zenwatch:
            url = zenwatch.url()
            zenwatch.wait_until_read_back()
            before, began = _deletes(cluster), time.perf_counter()
            took_ms = asyncio.run(time_alerts(cluster, url, cluster.namespace("fresh")))
            rate = (_deletes(cluster) - before) / (time.perf_counter() - began)
            say(f"{rate:.1f} deletions/s; p50 {percentile(took_ms, 50):.1f} ms")
    return rate, percentile(took_ms, 99)


def _deletes(cluster: ControlPlane) -> int:
    return sum(
        event["verb"] == "delete"
        and event.get("objectRef", {}).get("resource") == "zenagentevents"
        and event["stage"] == "ResponseComplete"
        for event in cluster.audit_events()
    )
