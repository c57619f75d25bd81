"""Bring a finding into our normal form: named, scored, in UTC, every string bounded.

In: findings.  Out: events.
Owns: nothing.
Stops: nothing to stop.
"""

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from zenwatch.errors import BadInput
from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Detail, Finding, Resource
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.processing.event.score import score

# The CRD's limits (deployments/crds/zenagentevents.yaml), in characters.
KEY_CHARS = 1024
TITLE_CHARS = 256
REMEDIATION_CHARS = 1024
REFERENCES = 10
# A URL that is cut is no URL: longer ones are left out. The CRD takes 2,048; ten of those would be too much for one record.
REFERENCE_CHARS = 512
DETAIL_CHARS = 512
_RESOURCE_CHARS = {"api_version": 317, "kind": 63, "name": 253, "namespace": 63}
_NOT_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\s]+")


def require_source(findings: Iterable[Finding], source: str) -> None:
    """BadInput where a watcher speaks in another one's name: its records would be counted here and stored there."""
    for finding in findings:
        if finding.type.source != source:
            raise BadInput(f"a finding's type.source is {finding.type.source!r}, the watcher is {source!r}")


def name_of(finding: Finding, *, cluster_id: str) -> str:
    """Of the record that the finding belongs to."""
    return record_name(finding.type.name_prefix, cluster_id=cluster_id, source=finding.type.source, key=bounded_key(finding.key))


def normalise(finding: Finding, *, cluster_id: str, seen_at: datetime) -> Event:
    """seen_at: becomes detectedAt where the tool gives no time of its own."""
    key = bounded_key(finding.key)
    source = finding.type.source
    return Event(
        name=record_name(finding.type.name_prefix, cluster_id=cluster_id, source=source, key=key),
        source=source,
        cluster_id=cluster_id,
        key=key,
        category=finding.type.category,
        severity=finding.severity,
        score=score(finding.severity, tool_score=finding.tool_score, has_fix=finding.has_fix),
        event_type=finding.type.event_type,
        detected_at=format_rfc3339(_utc(finding.detected_at) or seen_at),
        title=one_line(finding.title, TITLE_CHARS) or finding.type.event_type,
        remediation=one_line(finding.remediation, REMEDIATION_CHARS),
        references=_references(finding),
        resource=_resource(finding.resource),
        details=_details(finding.details),
    )


def one_line(text: str, limit_chars: int) -> str:
    """White space and control characters become one space; what is too long ends in an ellipsis."""
    if not text.isascii():
        # A lone surrogate is no text in any encoding; the API server would refuse the whole record.
        text = text.encode("utf-8", "replace").decode()
    flat = _NOT_ONE_LINE.sub(" ", text).strip()
    return flat if len(flat) <= limit_chars else flat[: limit_chars - 1] + "…"


def bounded_key(key: str) -> str:
    """The key itself, or its beginning and a digest of all of it, so that two long keys stay two."""
    clean = key if key.isascii() else key.encode("utf-8", "replace").decode()
    if len(clean) <= KEY_CHARS:
        return clean
    digest = hashlib.sha256(clean.encode()).hexdigest()[:20]
    return f"{clean[: KEY_CHARS - 21]}~{digest}"


def _references(finding: Finding) -> tuple[str, ...]:
    flat = (one_line(url, REFERENCE_CHARS + 1) for url in finding.references)
    urls = dict.fromkeys(url for url in flat if url.startswith(("https://", "http://")) and len(url) <= REFERENCE_CHARS)
    return tuple(urls)[:REFERENCES]


def _resource(resource: Resource) -> Resource:
    return Resource(**{part: one_line(getattr(resource, part), limit) for part, limit in _RESOURCE_CHARS.items()})


def _details(details: Mapping[str, Detail]) -> dict[str, Detail]:
    return {name: _detail(value) for name, value in details.items()}


def _detail(value: Detail) -> Detail:
    if isinstance(value, str):
        return one_line(value, DETAIL_CHARS)
    if isinstance(value, int | float):
        # JSON knows no infinity, and the API server turns an integer beyond 64 bits into a float.
        return value if math.isfinite(value) and abs(value) < 2**63 else str(value)[:DETAIL_CHARS]
    if isinstance(value, Mapping):
        return {name: one_line(part, DETAIL_CHARS) for name, part in value.items()}
    return sorted({one_line(entry, DETAIL_CHARS) for entry in value})


def _utc(moment: datetime | None) -> datetime | None:
    """None also for a time that the calendar of UTC does not have, such as the first hour of the year 1 further east."""
    try:
        return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment and moment.astimezone(UTC)
    except OverflowError:
        return None
