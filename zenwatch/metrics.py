"""Every series that zenwatch exports.

Names follow https://prometheus.io/docs/practices/naming/; every label takes its values from a closed set.
"""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

FINDINGS_RECEIVED = Counter("zenwatch_findings_received", "Findings that a source took from its tool.", ["cluster_id", "source"])
FINDINGS_SETTLED = Counter("zenwatch_findings_settled", "What became of the findings received.", ["cluster_id", "source", "outcome"])
FINDINGS_IN_FLIGHT = Gauge("zenwatch_findings_in_flight", "Findings received and not settled yet.", ["cluster_id", "source"])

FINDINGS_LOST = Counter("zenwatch_findings_lost", "Findings that no record will tell of, by why.", ["cluster_id", "source", "reason"])
PUSHED_EXCLUDED = Counter("zenwatch_pushed_events_excluded", "Pushed events that a rule excluded.", ["cluster_id", "source", "rule"])
WEBHOOK_REQUESTS = Counter("zenwatch_webhook_requests", "Requests to a webhook, by answer.", ["cluster_id", "source", "code"])
WEBHOOK_BYTES = Counter("zenwatch_webhook_body_bytes", "Bodies that were read, after unpacking.", ["cluster_id", "source"])
WEBHOOK_SECONDS = Histogram("zenwatch_webhook_duration_seconds", "From the end of the body to the answer.", ["cluster_id", "source"])
WEBHOOK_LAST = Gauge("zenwatch_webhook_last_request_timestamp_seconds", "When a body was last taken.", ["cluster_id", "source"])
CONNECTIONS = Gauge("zenwatch_connections", "Open connections to the server.")
CONNECTIONS_CLOSED = Counter("zenwatch_connections_closed", "Connections that the server closed or did not take, by why.", ["reason"])
BUFFER_EVENTS = Gauge("zenwatch_buffer_events", "Pushed events that wait to be stored.", ["cluster_id", "source"])
BUFFER_CAPACITY = Gauge("zenwatch_buffer_capacity_events", "How many events the buffer takes.", ["cluster_id", "source"])
SPOOL_BYTES = Gauge("zenwatch_spool_bytes", "Events on disk that are not settled.")
SPOOL_CAPACITY = Gauge("zenwatch_spool_capacity_bytes", "How much the spool takes.")
EVENT_LOOP_LAG = Gauge("zenwatch_event_loop_lag_max_seconds", "The longest that the event loop was held up in the last minute.")

REPORTS_REJECTED = Counter("zenwatch_reports_rejected", "Reports that could not be read.", ["cluster_id", "source"])
TOOL_INSTALLED = Gauge("zenwatch_tool_installed", "1 where a tool was found in the cluster, else 0.", ["cluster_id", "source"])
REPORTS_CACHED = Gauge("zenwatch_reports_cached", "Reports whose findings are in memory.", ["cluster_id", "source"])
ROUNDS = Counter("zenwatch_rounds", "Rounds that ended, by how.", ["cluster_id", "source", "result"])
ROUND_SECONDS = Histogram("zenwatch_round_duration_seconds", "How long a round took.", ["cluster_id", "source"])

RECORD_WRITES = Counter("zenwatch_record_writes", "Writes that the store acknowledged.", ["operation"])
RECORD_WRITE_RETRIES = Counter("zenwatch_record_write_retries", "Writes tried again after a passing failure.")
RECORD_WRITE_SECONDS = Histogram(
    "zenwatch_record_write_duration_seconds",
    "From taking a write out of the queue to its result, retries included.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
WRITES_WAITING = Gauge(
    "zenwatch_writes_waiting",
    "Writes that the store refuses for the time being, by the namespace of the record.",
    ["namespace", "cause"],
)
WRITE_CONCURRENCY = Gauge("zenwatch_write_concurrency", "How many writes may go on at the same time now.")
RECORDS_RESOLVED = Counter("zenwatch_records_resolved", "Records that became Resolved, by why.", ["cluster_id", "source", "reason"])
RECORDS_REOPENED = Counter("zenwatch_records_reopened", "Records that came back after they were resolved.", ["cluster_id", "source"])
RECORDS = Gauge("zenwatch_records", "Stored records.", ["cluster_id", "source", "severity", "phase"])
RECORDS_DELETED = Counter("zenwatch_records_deleted", "Records that were deleted, by why.", ["cluster_id", "source", "reason"])
BUDGET_USED = Gauge("zenwatch_record_budget_used_ratio", "How much of the record budget is used, by records or by bytes.")
BUDGET_RECORDS = Gauge("zenwatch_record_budget_records", "How many records may be stored: RECORD_BUDGET.")
BUDGET_BYTES = Gauge("zenwatch_record_budget_bytes", "How many bytes of records may be stored: RECORD_BUDGET_BYTES.")
FINDINGS_ROLLED_UP = Gauge(
    "zenwatch_findings_rolled_up", "Findings without a record of their own, beyond the budget.", ["cluster_id", "source"]
)
PUSHED_ROLLED_UP = Counter(
    "zenwatch_pushed_events_rolled_up",
    "Pushed events without a record of their own, beyond the budget.",
    ["cluster_id", "source"],
)
SOURCE_SILENT = Gauge(
    "zenwatch_source_silent", "1 where an installed tool has sent nothing for far longer than its usual pause.", ["cluster_id", "source"]
)
SOURCE_LAST_DATA = Gauge("zenwatch_source_last_data_timestamp_seconds", "When a tool sent something last.", ["cluster_id", "source"])
SOURCE_MISSING_FIELDS = Gauge(
    "zenwatch_source_missing_fields", "Fields that a tool always sent and does not send any more.", ["cluster_id", "source"]
)
SOURCE_REJECTED_REPORTS = Gauge(
    "zenwatch_source_rejected_reports", "Reports that are there and cannot be read, wholly or in part.", ["cluster_id", "source"]
)
RECORDS_INDEXED = Gauge("zenwatch_records_indexed", "Stored records that the index knows.")
KUBERNETES_EVENTS = Counter("zenwatch_kubernetes_events", "What became of Events that new critical records were to make.", ["result"])

API_REQUESTS = Counter("zenwatch_api_requests", "Requests to the API server, by answer.", ["method", "code"])
LOG_LINES_LOST = Counter("zenwatch_log_lines_lost", "Log lines that could not be written: nobody reads them, or the disk is full.")
TASK_RESTARTS = Counter("zenwatch_task_restarts", "Restarts of a task after an error.", ["task"])


# labels() takes a lock and builds a key: the hot path need not pay for it with every request.
@cache
def api_requests(method: str, status: int) -> Counter:
    """The series of one answer. Both labels are bounded: the methods we use and the HTTP status codes."""
    return API_REQUESTS.labels(method, str(status))
