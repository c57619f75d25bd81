"""Hold what each report says, and merge what several reports say of one key.

In: the events of a report, as often as it changes.  Out: one event per name, and how many reports hold it.
Owns: per report its version, its names and its events, compressed (70 bytes per event in reports of 20 that resemble each other).
Stops: nothing to stop; all of it can be read again from the API server.
"""

import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import orjson

from zenwatch.contract import RECENT_ENTRIES
from zenwatch.model.event import Event
from zenwatch.model.finding import Detail

# records.md: lists are united, sorted and cut at 20, with a count of the rest.
LIST_ENTRIES = 20
# The whole object stays under 16 KiB of JSON (records.md). Text of four bytes a character fills the other fields with 12 KiB at most.
OBJECT_BYTES = 15 * 1024
DETAILS_BYTES = 8 * 1024
REMEDIATION_BYTES = 2 * 1024
REFERENCES_BYTES = 3 * 1024
REFERENCES = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    version: str
    names: tuple[str, ...]
    packed: bytes


class Holdings:
    """What all reports of one source say at this moment."""

    def __init__(self) -> None:
        self._reports: dict[str, _Held] = {}
        # Nearly every name stands in one report: a plain string then, a tuple only where several hold it.
        self._holders: dict[str, str | tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._reports)

    def __contains__(self, name: str) -> bool:
        return name in self._holders

    def version_of(self, report: str) -> str | None:
        held = self._reports.get(report)
        return held.version if held else None

    def reports_of(self, place: str) -> list[str]:
        """place: resource, or resource/namespace."""
        return [report for report in self._reports if report.startswith(f"{place}/")]

    def replace(self, report: str, version: str, events: Collection[Event]) -> set[str]:
        """This is what the report says now. Return every name that it says, or no longer says."""
        names = tuple(dict.fromkeys(event.name for event in events))
        packed = zlib.compress(orjson.dumps(list(events)), 1)
        touched = self.forget(report)
        self._reports[report] = _Held(version, names, packed)
        for name in names:
            holders = self._holders_of(name)
            self._holders[name] = (*holders, report) if holders else report
        return touched.union(names)

    def forget(self, report: str) -> set[str]:
        """Return the names that the report said."""
        held = self._reports.pop(report, None)
        if held is None:
            return set()
        for name in held.names:
            left = tuple(holder for holder in self._holders_of(name) if holder != report)
            if left:
                self._holders[name] = left if len(left) > 1 else left[0]
            else:
                del self._holders[name]
        return set(held.names)

    def merged(self, names: Iterable[str]) -> Iterator[tuple[str, Event | None, int]]:
        """Per name the merged event and how many reports hold it; None and 0 where none does any more.

        Names of one report come together, so that each report is unpacked about once.
        """
        by_report: dict[str, list[str]] = {}
        for name in names:
            holders = self._holders_of(name)
            by_report.setdefault(holders[0] if holders else "", []).append(name)
        for gone in by_report.pop("", ()):
            yield gone, None, 0
        for report, together in by_report.items():
            unpacked: dict[_Held, dict[str, list[Event]]] = {}
            for name in together:
                holders = self._holders_of(name)
                if report not in holders:
                    # It changed while the consumer was busy; it is touched again and comes with the next call.
                    continue
                said = [self._unpacked(holder, unpacked)[name] for holder in holders]
                yield name, merge(list(chain.from_iterable(said))), len(holders)

    def _unpacked(self, report: str, cache: dict[_Held, dict[str, list[Event]]]) -> dict[str, list[Event]]:
        held = self._reports[report]
        if held not in cache:
            by_name: dict[str, list[Event]] = {}
            for fields in orjson.loads(zlib.decompress(held.packed)):
                by_name.setdefault(fields["name"], []).append(Event.from_json(fields))
            cache[held] = by_name
        return cache[held]

    def _holders_of(self, name: str) -> tuple[str, ...]:
        holders = self._holders.get(name, ())
        return (holders,) if isinstance(holders, str) else holders


def merge(events: Collection[Event]) -> Event:
    """One event of several with one name: the worst leads, lists are united. The order they come in makes no difference."""
    ordered = sorted(events, key=_by_weight) if len(events) > 1 else list(events)
    united = replace(
        ordered[0],
        detected_at=min(event.detected_at for event in ordered),
        remediation=_joined((event.remediation for event in ordered if event.remediation), separator="; ", limit_chars=1024),
        references=tuple(chain.from_iterable(event.references for event in ordered)),
        details=_united(ordered),
    )
    return fitted(united)


def follow_up(event: Event, *, recent: str, earlier: Sequence[str]) -> Event:
    """The event of the last sighting, with what the list `recent` said at the earlier ones, oldest first."""
    if not recent or not earlier:
        return event
    return fitted(replace(event, details={**event.details, recent: _last([*earlier, *entries_of(event, recent)])}))


def entries_of(event: Event, detail: str) -> list[str]:
    """A list in the details; empty where there is none."""
    value = event.details.get(detail, [])
    return list(value) if isinstance(value, list | tuple) else []


def fitted(event: Event) -> Event:
    """With fewer and shorter details and references, until its record is small enough."""
    led = replace(event, references=_fitting(event.references), details={})
    room_bytes = min(DETAILS_BYTES, OBJECT_BYTES - len(orjson.dumps(led)))
    return replace(led, details=_bounded(dict(event.details), room_bytes))


def _last(entries: Iterable[str]) -> list[str]:
    """Each once, where it was said last."""
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


def _bounded(details: dict[str, Detail], room_bytes: int) -> dict[str, Detail]:
    entries, chars = LIST_ENTRIES, 512
    bounded = _cut(details, entries, chars)
    while len(orjson.dumps(bounded)) > room_bytes and chars > 8:
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
            cut[name] = {part: said if len(said) <= chars else said[: chars - 1] + "…" for part, said in value.items()}
        else:
            cut[name] = [entry if len(entry) <= chars else entry[: chars - 1] + "…" for entry in value[:entries]]
            if omitted := len(value) - entries if len(value) > entries else 0:
                cut[f"{name}Omitted"] = omitted
    return cut
