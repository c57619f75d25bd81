"""Every series that zenwatch exports, and the ledger that keeps them honest.

Names follow https://prometheus.io/docs/practices/naming/; every label takes its values from a closed set.
"""

from collections import Counter as Tally
from functools import cache

from prometheus_client import Counter, Gauge, Histogram

from zenwatch.model.write import Outcome

FINDINGS_RECEIVED = Counter("zenwatch_findings_received", "Findings that a source took from its tool.", ["source"])
FINDINGS_SETTLED = Counter("zenwatch_findings_settled", "What became of the findings received.", ["source", "outcome"])
FINDINGS_IN_FLIGHT = Gauge("zenwatch_findings_in_flight", "Findings received and not settled yet.", ["source"])

FINDINGS_LOST = Counter("zenwatch_findings_lost", "Findings that no record will tell of, by why.", ["source", "reason"])
PUSHED_EXCLUDED = Counter("zenwatch_pushed_events_excluded", "Pushed events that a rule excluded.", ["source", "rule"])
WEBHOOK_REQUESTS = Counter("zenwatch_webhook_requests", "Requests to a webhook, by answer.", ["source", "code"])
WEBHOOK_BYTES = Counter("zenwatch_webhook_body_bytes", "Bodies that were read, after unpacking.", ["source"])
WEBHOOK_SECONDS = Histogram("zenwatch_webhook_duration_seconds", "From the end of the body to the answer.", ["source"])
WEBHOOK_LAST = Gauge("zenwatch_webhook_last_request_timestamp_seconds", "When a body was last taken.", ["source"])
BUFFER_EVENTS = Gauge("zenwatch_buffer_events", "Pushed events that wait to be stored.", ["source"])
BUFFER_CAPACITY = Gauge("zenwatch_buffer_capacity_events", "How many events the buffer takes.", ["source"])
SPOOL_BYTES = Gauge("zenwatch_spool_bytes", "Events on disk that are not settled.")
SPOOL_CAPACITY = Gauge("zenwatch_spool_capacity_bytes", "How much the spool takes.")
EVENT_LOOP_LAG = Gauge("zenwatch_event_loop_lag_max_seconds", "The longest that the event loop was held up in the last minute.")

REPORTS_REJECTED = Counter("zenwatch_reports_rejected", "Reports that could not be read.", ["source"])
TOOL_INSTALLED = Gauge("zenwatch_tool_installed", "1 where a tool was found in the cluster, else 0.", ["source"])
REPORTS_CACHED = Gauge("zenwatch_reports_cached", "Reports whose findings are in memory.", ["source"])
ROUNDS = Counter("zenwatch_rounds", "Rounds that ended, by how.", ["source", "result"])
ROUND_SECONDS = Histogram("zenwatch_round_duration_seconds", "How long a round took.", ["source"])

RECORD_WRITES = Counter("zenwatch_record_writes", "Writes that the store acknowledged.", ["operation"])
RECORD_WRITE_RETRIES = Counter("zenwatch_record_write_retries", "Writes tried again after a passing failure.")
RECORD_WRITE_SECONDS = Histogram(
    "zenwatch_record_write_duration_seconds",
    "From taking a write out of the queue to its receipt, retries included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
WRITE_CONCURRENCY = Gauge("zenwatch_write_concurrency", "How many writes may go on at the same time now.")
RECORDS_RESOLVED = Counter("zenwatch_records_resolved", "Records that became Resolved, by why.", ["source", "reason"])
RECORDS_REOPENED = Counter("zenwatch_records_reopened", "Records that came back after they were resolved.", ["source"])
RECORDS = Gauge("zenwatch_records", "Stored records.", ["source", "severity", "phase"])
RECORDS_DELETED = Counter("zenwatch_records_deleted", "Records that were deleted, by why.", ["source", "reason"])
BUDGET_USED = Gauge("zenwatch_record_budget_used_ratio", "How much of the record budget is used, by records or by bytes.")
BUDGET_RECORDS = Gauge("zenwatch_record_budget_records", "How many records the budget has room for.")
BUDGET_BYTES = Gauge("zenwatch_record_budget_bytes", "How many bytes of records the budget has room for.")
FINDINGS_ROLLED_UP = Gauge("zenwatch_findings_rolled_up", "Findings without a record of their own, for want of room.", ["source"])
PUSHED_ROLLED_UP = Counter("zenwatch_pushed_events_rolled_up", "Pushed events without a record of their own, for want of room.", ["source"])
SOURCE_SILENT = Gauge(
    "zenwatch_source_silent", "1 where an installed tool has said nothing for far longer than it usually does.", ["source"]
)
SOURCE_LAST_DATA = Gauge("zenwatch_source_last_data_timestamp_seconds", "When a tool said something last.", ["source"])
SOURCE_MISSING_FIELDS = Gauge("zenwatch_source_missing_fields", "Fields that a tool always sent and does not send any more.", ["source"])
RECORDS_INDEXED = Gauge("zenwatch_records_indexed", "Stored records that the index knows.")
KUBERNETES_EVENTS = Counter("zenwatch_kubernetes_events", "What became of Events that new critical records were to make.", ["result"])

API_REQUESTS = Counter("zenwatch_api_requests", "Requests to the API server, by answer.", ["method", "code"])
TASK_RESTARTS = Counter("zenwatch_task_restarts", "Restarts of a task after an error.", ["task"])


# labels() takes a lock and builds a key, several times a record: the hot path need not pay for it each time.
@cache
def _received(source: str) -> Counter:
    return FINDINGS_RECEIVED.labels(source)


@cache
def _settled(source: str, outcome: Outcome) -> Counter:
    return FINDINGS_SETTLED.labels(source, outcome.value)


@cache
def _in_flight(source: str) -> Gauge:
    return FINDINGS_IN_FLIGHT.labels(source)


@cache
def api_requests(method: str, status: int) -> Counter:
    """The series of one answer. Both labels are bounded: the methods we use and the HTTP status codes."""
    return API_REQUESTS.labels(method, str(status))


class Ledger:
    """received = the sum over all outcomes + in flight, for every source, at every moment."""

    def __init__(self) -> None:
        self._received: Tally[str] = Tally()
        self._settled: Tally[tuple[str, Outcome]] = Tally()

    def receive(self, source: str, findings: int) -> None:
        self._received[source] += findings
        _received(source).inc(findings)
        _in_flight(source).inc(findings)

    def settle(self, source: str, outcome: Outcome, findings: int = 1) -> None:
        self._settled[source, outcome] += findings
        _settled(source, outcome).inc(findings)
        _in_flight(source).dec(findings)

    def lose(self, source: str, reason: str, findings: int) -> None:
        """reason: buffer_full (the sender does not come again) or shutdown (memory ends with the process)."""
        self.settle(source, Outcome.LOST, findings)
        FINDINGS_LOST.labels(source, reason).inc(findings)

    def page(self, source: str) -> dict[str, int]:
        """One source's lines as plain counts: received, each outcome, in_flight."""
        outcomes = {outcome.value: self._settled[source, outcome] for outcome in Outcome}
        received = self._received[source]
        return {"received": received, **outcomes, "in_flight": received - sum(outcomes.values())}

    @property
    def sources(self) -> list[str]:
        """Those that anything came from."""
        return sorted(source for source, findings in self._received.items() if findings)
