"""Bring a finding into the normal form: an event with a name, a score and UTC times, every string clean and bounded."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from zenwatch.errors import BadInput
from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Detail, Finding, Resource
from zenwatch.model.text import clean
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.processing.event.free_text import FreeText, clean_key
from zenwatch.processing.event.score import score

# The CRD's limits (deployments/crds/zenagentevents.yaml), in characters.
TITLE_CHARS = 256
REMEDIATION_CHARS = 1024
REFERENCES = 10
# A truncated URL is no URL: longer ones are left out. The CRD allows 2,048; ten of those would be too much for one record.
REFERENCE_CHARS = 512
DETAIL_CHARS = 512
_RESOURCE_CHARS = {"api_version": 317, "kind": 63, "name": 253, "namespace": 63}


def require_source(findings: Iterable[Finding], source: str) -> None:
    """BadInput if a finding names another source than its watcher: it would be counted here and stored there."""
    for finding in findings:
        if finding.type.source != source:
            raise BadInput(f"a finding's type.source is {finding.type.source!r}, the watcher is {source!r}")


def name_of(finding: Finding, *, cluster_id: str) -> str:
    """The name of the record that the finding belongs to."""
    return record_name(finding.type.name_prefix, cluster_id=cluster_id, source=finding.type.source, key=clean_key(finding.key))


def normalise(finding: Finding, *, cluster_id: str, seen_at: datetime) -> Event:
    """seen_at: becomes detectedAt if the tool gives no time of its own."""
    text = FreeText(finding)
    source = finding.type.source
    return Event(
        name=record_name(finding.type.name_prefix, cluster_id=cluster_id, source=source, key=text.key),
        source=source,
        cluster_id=cluster_id,
        key=text.key,
        category=finding.type.category,
        severity=finding.severity,
        score=score(finding.severity, tool_score=finding.tool_score, has_fix=finding.has_fix),
        event_type=finding.type.event_type,
        detected_at=format_rfc3339(_utc(finding.detected_at) or seen_at),
        title=text.line(finding.title, TITLE_CHARS) or finding.type.event_type,
        remediation=text.line(finding.remediation, REMEDIATION_CHARS),
        references=_references(finding, text),
        resource=_resource(finding.resource, text),
        details={clean(name): _detail(value, text) for name, value in finding.details.items()},
    )


def _references(finding: Finding, text: FreeText) -> tuple[str, ...]:
    lines = (text.line(url, REFERENCE_CHARS + 1) for url in finding.references)
    urls = dict.fromkeys(url for url in lines if url.startswith(("https://", "http://")) and len(url) <= REFERENCE_CHARS)
    return tuple(urls)[:REFERENCES]


def _resource(resource: Resource, text: FreeText) -> Resource:
    return Resource(**{part: text.line(getattr(resource, part), limit) for part, limit in _RESOURCE_CHARS.items()})


def _detail(value: Detail, text: FreeText) -> Detail:
    if isinstance(value, str):
        return text.line(value, DETAIL_CHARS)
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, Mapping):
        return {clean(name): text.line(part, DETAIL_CHARS) for name, part in value.items()}
    return sorted({text.line(entry, DETAIL_CHARS) for entry in value})


def _number(value: float) -> Detail:
    """As the API server returns it: JSON knows no infinity, an integer beyond 64 bits becomes a float, and 7.0 becomes 7."""
    if not math.isfinite(value) or abs(value) >= 2**63:
        return str(value)[:DETAIL_CHARS]
    return int(value) if type(value) is float and value.is_integer() else value


def _utc(moment: datetime | None) -> datetime | None:
    """None also for a time that does not exist in UTC, such as the first hour of the year 1 in an eastern zone."""
    try:
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment and moment.astimezone(UTC)
    except OverflowError:
        return None
