"""Check when a source last sent data, whether it is silent or lacks fields, and how many of its records are open."""

from collections.abc import Iterator, Mapping

from zenwatch.doctor.check import Check, Level, age_text, duration_text
from zenwatch.doctor.cluster.object_count import ObjectCount
from zenwatch.doctor.context import DoctorContext
from zenwatch.errors import ZenwatchError, first_line
from zenwatch.model.status import RejectedReport, SourceStatus
from zenwatch.model.timestamps import parse_rfc3339
from zenwatch.sdk.settings import watcher_prefix


def data_checks(
    name: str, context: DoctorContext, reports: ObjectCount, refusal: ZenwatchError | None = None, *, remedy: str = ""
) -> list[Check]:
    """reports: of a pull source. refusal: why some of them could not be counted. remedy: how a person makes reports that can be read."""
    last_data = _last_data_text(name, context, reports)
    status = context.process.source(name)
    problems = (*_problems(name, context, status, last_data), *_rejected_checks(name, status, remedy)) if status else ()
    return [*problems, _data_check(name, context, last_data, refusal)]


def _last_data_text(name: str, context: DoctorContext, reports: ObjectCount) -> str:
    """The process knows best. Without it: the newest report, or our newest open record of the source."""
    now, status = context.clock.now(), context.process.source(name)
    if status and (last_data_at := parse_rfc3339(status.last_data_at)):
        return f"last data {age_text(last_data_at, now)}"
    if reports.newest:
        return f"{reports} reports, the newest {age_text(reports.newest, now)}"
    if reports.objects:
        return f"{reports} reports"
    records = context.open_records.get(name) if isinstance(context.open_records, Mapping) else None
    if records and records.newest:
        return f"newest open record {age_text(records.newest, now)}"
    return "no data yet" if status else "no data seen"


def _problems(name: str, context: DoctorContext, status: SourceStatus, last_data: str) -> Iterator[Check]:
    if silent_since := parse_rfc3339(status.silent_since):
        silence = duration_text((context.clock.now() - silent_since).total_seconds())
        prefix = watcher_prefix(name)
        lines = (
            "Look whether the tool still works: its pods and its log.",
            f"If it may be so silent, raise {prefix}SILENCE_AFTER; if it is gone for good: {prefix}ENABLED=false",
        )
        yield Check(name, "silence", Level.WARN, f"silent for {silence}, longer than usual; {last_data}", lines)
    if status.missing_fields:
        text = f"what it sends lacks {', '.join(status.missing_fields)}: findings are stored without, or not at all"
        advice = "Compare its version with those that zenwatch was tested with; zenwatch preview FILE shows what becomes of a report."
        yield Check(name, "fields", Level.WARN, text, (advice,))


def _rejected_checks(name: str, status: SourceStatus, remedy: str) -> Iterator[Check]:
    if not status.rejected_reports:
        return
    examples = [_example_text(example) for example in status.rejected_examples]
    left = status.rejected_reports - len(examples)
    lines = (
        *examples,
        *([f"... and {left} more: the log of the process names them (report_rejected, entries_rejected)"] if left > 0 else []),
        remedy or "zenwatch preview FILE shows what becomes of a report: kubectl get KIND -n NAMESPACE NAME -o yaml > FILE",
    )
    text = f"{status.rejected_reports} reports cannot be read, wholly or in part: what is not understood of them is not stored"
    yield Check(name, "reports", Level.WARN, text, lines)


def _example_text(example: RejectedReport) -> str:
    more = f" (and {example.entries - 1} more like this)" if example.entries > 1 else ""
    return f"{example.report}: {example.reason}{more}" + ("; the rest of it is stored" if example.entries else "")


def _data_check(name: str, context: DoctorContext, last_data: str, refusal: ZenwatchError | None) -> Check:
    if refusal is not None:
        return Check(name, "data", Level.UNKNOWN, f"{last_data}; not all could be counted: {first_line(refusal)}")
    if status := context.process.source(name):
        return Check(name, "data", Level.OK, f"{last_data}; {status.open} records open")
    if isinstance(context.open_records, ZenwatchError):
        return Check(name, "data", Level.UNKNOWN, f"{last_data}; records open: {first_line(context.open_records)}")
    return Check(name, "data", Level.OK, f"{last_data}; {context.open_records.get(name, ObjectCount())} records open")
