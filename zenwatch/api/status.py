"""GET /status: how the process and its sources are, for `zenwatch doctor`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from zenwatch.contract import RecordCounts
from zenwatch.metrics import RECORD_WRITE_RETRIES
from zenwatch.model.queue import Fill
from zenwatch.model.refs import Origin
from zenwatch.model.status import BudgetStatus, BufferStatus, ProcessStatus, RefusedWrites, RejectedReport, SourceStatus, WriteStatus
from zenwatch.model.timestamps import format_rfc3339


@dataclass(frozen=True)
class SourceReport:
    """What the process knows of one source now. fill: of its buffer; None for a pull source. rejected: in its accounts."""

    origin: Origin
    last_data_at: datetime | None
    last_post_at: datetime | None
    last_sender: str
    silent_since: datetime | None
    missing_fields: Sequence[str]
    fill: Fill | None
    rejected: int = 0
    rejected_reports: int = 0
    rejected_examples: Sequence[RejectedReport] = ()


@dataclass(frozen=True)
class ProcessReport:
    """What the process knows of itself now."""

    sources: Sequence[SourceReport]
    records_limit: int
    bytes_limit: int
    rolled_up: int
    is_failing: bool
    refused: Sequence[RefusedWrites] = ()


async def status(records: RecordCounts, report: Callable[[], ProcessReport], started_at: datetime) -> ProcessStatus:
    open_counts, now = await records.open_counts(), report()
    return ProcessStatus(
        version=version("zenwatch"),
        started_at=format_rfc3339(started_at),
        sources={source.origin.source: _source(source, open_counts) for source in now.sources},
        budget=BudgetStatus(records.total_records, now.records_limit, records.total_bytes, now.bytes_limit, now.rolled_up),
        writes=WriteStatus(retries=_write_retries(), failing=now.is_failing, refused=tuple(now.refused)),
    )


def _source(source: SourceReport, open_counts: Mapping[Origin, int]) -> SourceStatus:
    return SourceStatus(
        last_data_at=_text(source.last_data_at),
        last_post_at=_text(source.last_post_at),
        last_sender=source.last_sender,
        open=open_counts.get(source.origin, 0),
        silent_since=_text(source.silent_since),
        missing_fields=tuple(source.missing_fields),
        buffer=BufferStatus(source.fill.used, source.fill.capacity, source.fill.unit) if source.fill else None,
        rejected=source.rejected,
        rejected_reports=source.rejected_reports,
        rejected_examples=tuple(source.rejected_examples),
    )


def _text(moment: datetime | None) -> str | None:
    return format_rfc3339(moment) if moment is not None else None


def _write_retries() -> int:
    [metric] = RECORD_WRITE_RETRIES.collect()
    return int(next(sample.value for sample in metric.samples if sample.name.endswith("_total")))
