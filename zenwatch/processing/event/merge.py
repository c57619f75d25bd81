"""Make one event of several that have the same key, small enough to be stored."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import orjson

from zenwatch.model.event import Event
from zenwatch.model.finding import Detail
from zenwatch.sdk.watcher import RECENT_ENTRIES

# docs/records.md, "Several findings of the same key": lists are united, sorted and cut at 20, with a count of the rest.
LIST_ENTRIES = 20
# The whole object stays under 16 KiB of JSON (docs/records.md, "What zenwatch shortens").
# Text of four bytes a character fills the other fields with 12 KiB at most.
OBJECT_BYTES = 15 * 1024
DETAILS_BYTES = 8 * 1024
REMEDIATION_BYTES = 2 * 1024
REFERENCES_BYTES = 3 * 1024
REFERENCES = 10


def merge(events: Collection[Event]) -> Event:
    """One event of several with the same name: the worst gives the fields, lists are united. The order of arrival makes no difference."""
    ordered = sorted(events, key=_by_weight) if len(events) > 1 else list(events)
    united = replace(
        ordered[0],
        detected_at=min(event.detected_at for event in ordered),
        remediation=_joined((event.remediation for event in ordered if event.remediation), separator="; ", limit_chars=1024),
        references=tuple(chain.from_iterable(event.references for event in ordered)),
        details=_united(ordered),
    )
    return truncated_to_limit(united)


def follow_up(event: Event, *, recent: str, earlier: Sequence[str]) -> Event:
    """The event of the last sighting; its list `recent` begins with the entries of earlier sightings, oldest first."""
    if not recent or not earlier:
        return event
    return truncated_to_limit(replace(event, details={**event.details, recent: _last([*earlier, *list_detail(event, recent)])}))


def list_detail(event: Event, detail: str) -> list[str]:
    """A list in the details; empty if there is none."""
    value = event.details.get(detail, [])
    return list(value) if isinstance(value, list | tuple) else []


def truncated_to_limit(event: Event) -> Event:
    """The event with fewer and shorter details and references, so that its record is small enough."""
    led = replace(event, references=_fitting(event.references), details={})
    space_bytes = min(DETAILS_BYTES, OBJECT_BYTES - len(orjson.dumps(led)))
    return replace(led, details=_bounded(dict(event.details), space_bytes))


def _last(entries: Iterable[str]) -> list[str]:
    """Each entry once, at its last position."""
    latest_first = dict.fromkeys(reversed(list(entries)))
    return list(latest_first)[:RECENT_ENTRIES][::-1]


def _by_weight(event: Event) -> tuple[int, int, bytes]:
    # The bytes only break ties, so that two replicas choose the same leader.
    return event.severity.rank, -event.score, orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


def _joined(sentences: Iterable[str], *, separator: str, limit_chars: int) -> str:
    joined = ""
    for sentence in dict.fromkeys(sentences):
        longer = f"{joined}{separator}{sentence}" if joined else sentence
        if len(longer) > limit_chars or len(orjson.dumps(longer)) > REMEDIATION_BYTES:
            break
        joined = longer
    return joined


def _fitting(urls: Iterable[str]) -> tuple[str, ...]:
    kept: list[str] = []
    left_bytes = REFERENCES_BYTES
    for url in dict.fromkeys(urls):
        left_bytes -= len(orjson.dumps(url))
        if left_bytes < 0 or len(kept) == REFERENCES:
            break
        kept.append(url)
    return tuple(kept)


def _united(ordered: list[Event]) -> dict[str, Detail]:
    united = dict(ordered[0].details)
    for name in dict.fromkeys(chain.from_iterable(event.details for event in ordered)):
        lists = [entries for event in ordered if isinstance(entries := event.details.get(name), list)]
        if lists:
            united[name] = sorted(set(chain.from_iterable(lists)))
    return united


def _bounded(details: dict[str, Detail], space_bytes: int) -> dict[str, Detail]:
    entries, chars = LIST_ENTRIES, 512
    bounded = _cut(details, entries, chars)
    while len(orjson.dumps(bounded)) > space_bytes and chars > 8:
        entries, chars = max(entries // 2, 1), chars // 2
        bounded = _cut(details, entries, chars)
    return bounded


def _cut(details: dict[str, Detail], entries: int, chars: int) -> dict[str, Detail]:
    cut: dict[str, Detail] = {}
    for name, value in details.items():
        if isinstance(value, str):
            cut[name] = value if len(value) <= chars else value[: chars - 1] + "…"
        elif isinstance(value, int | float):
            cut[name] = value
        elif isinstance(value, Mapping):
            cut[name] = {part: text if len(text) <= chars else text[: chars - 1] + "…" for part, text in value.items()}
        else:
            cut[name] = [entry if len(entry) <= chars else entry[: chars - 1] + "…" for entry in value[:entries]]
            if omitted := len(value) - entries if len(value) > entries else 0:
                cut[f"{name}Omitted"] = omitted
    return cut
