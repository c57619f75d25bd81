"""What a running zenwatch answers at /status, for `zenwatch doctor`. The fields are the keys of the JSON."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BufferStatus:
    """How full the buffer of a push source is. unit: events or bytes."""

    used: int
    capacity: int
    unit: str


@dataclass(frozen=True, slots=True)
class RejectedReport:
    """report: its kind, and its namespace and name. entries: how many are not understood; 0: nothing of it is."""

    report: str
    reason: str
    entries: int


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Times are RFC 3339. last_sender: the address that posted last. open: open records. buffer: None for a pull source.

    silent_since: set while the source is silent for longer than usual. missing_fields: fields that it always sent, and stopped sending.
    rejected: events, entries and reports since the start. rejected_reports: how many cannot be read now; rejected_examples: the first few.
    """

    last_data_at: str | None
    last_post_at: str | None
    last_sender: str
    open: int
    silent_since: str | None
    missing_fields: tuple[str, ...]
    buffer: BufferStatus | None
    rejected: int = 0
    rejected_reports: int = 0
    rejected_examples: tuple[RejectedReport, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """What is stored, and the limits; a limit of 0 is no limit. rolled_up: findings that are only counted, because the budget is full."""

    records: int
    records_limit: int
    bytes: int
    bytes_limit: int
    rolled_up: int


@dataclass(frozen=True, slots=True)
class RefusedWrites:
    """What waits for a namespace that takes no writes for the time being.

    cause: policy, quota, webhook, permission, namespace or slow. error: the store's sentence. since: RFC 3339. waiting: writes.
    dead_letters: events that were given up, and come back once writes are taken again.
    """

    namespace: str
    cause: str
    error: str
    since: str
    waiting: int
    dead_letters: int


@dataclass(frozen=True, slots=True)
class WriteStatus:
    """retries: since the start. failing: no write reaches the API server now. refused: the longest refused namespace first."""

    retries: int
    failing: bool
    refused: tuple[RefusedWrites, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """started_at: RFC 3339. sources: by name."""

    version: str
    started_at: str
    sources: Mapping[str, SourceStatus]
    budget: BudgetStatus
    writes: WriteStatus
