"""Print one JSON line per figure: {"name", "value", "unit", "baseline", "ratio"}. Progress goes to stderr."""

import os
import sys

import orjson

from tests.bench import durable, housekeeping, life, neighbour, pull, push, steady, week
from tests.bench.figure import Figure, Measure, NotMeasured

MEASURES: dict[str, Measure] = {
    "pull_records_per_second": pull.records_per_second,
    "rss_1000_records_mb": steady.rss_1000_records,
    "working_set_1000_records_mb": steady.working_set_1000_records,
    "rss_10000_records_mb": steady.rss_10000_records,
    "working_set_10000_records_mb": steady.working_set_10000_records,
    "unchanged_round_cpu_ms": steady.unchanged_round_cpu,
    "idle_requests_per_minute": steady.idle_requests_per_minute,
    "falco_visible_p50_ms": push.falco_visible_p50,
    "falco_visible_p99_ms": push.falco_visible_p99,
    "audit_events_per_second": push.audit_events_per_second,
    "loop_held_max_ms": push.loop_held_max,
    "webhook_records_per_second": durable.webhook_records_per_second,
    "rss_10k_day_mb": durable.rss_10k_day,
    "working_set_10k_day_mb": durable.working_set_10k_day,
    "rss_spool_100k_mb": durable.rss_spool_100k,
    "working_set_spool_100k_mb": durable.working_set_spool_100k,
    "spool_accept_per_second": durable.spool_accept_per_second,
    "api_outage_drain_seconds": durable.api_outage_drain,
    "restart_ready_seconds": life.restart_ready,
    "restart_writes": life.restart_writes,
    "rss_100k_open_mb": life.rss_100k_open,
    "working_set_100k_open_mb": life.working_set_100k_open,
    "top_ms": life.top_ms,
    "gc_requests_per_second": housekeeping.gc_requests_per_second,
    "gc_falco_p99_ms": housekeeping.gc_falco_p99,
    "etcd_bytes_per_record": housekeeping.etcd_bytes_per_record,
    "rollup_records": housekeeping.rollup_records,
    "refused_neighbour_push_ms": neighbour.refused_neighbour_push,
    "refused_neighbour_round_ratio": neighbour.refused_neighbour_round,
    "week_rss_mb": week.week_rss,
}


def main() -> int:
    wanted = [name.strip() for name in os.environ.get("ONLY", "").split(",") if name.strip()] or list(MEASURES)
    if unknown := [name for name in wanted if name not in MEASURES]:
        print(f"ONLY names {', '.join(unknown)}; there are: {', '.join(MEASURES)}", file=sys.stderr)
        return 2
    for name in wanted:
        figure: Figure | NotMeasured = MEASURES[name]()
        print(orjson.dumps({"name": name, **figure.as_json()}).decode(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
