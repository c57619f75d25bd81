"""Hold what each report says.

In: the events of a report, as often as it changes.  Out: one event per name, and which reports hold it.
Owns: per report its version, its names, what it is about, and its events, compressed (70 bytes per event in reports of 20 that
resemble each other).
Stops: nothing to stop; all of it can be read again from the API server.
"""

import zlib
from collections import Counter as Tally
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import orjson

from zenwatch.model.event import NAME_DIGEST_HEX, Event
from zenwatch.model.finding import Resource
from zenwatch.model.record import NO_RESOURCE
from zenwatch.processing.event.merge import merge

_DIGEST_BYTES = NAME_DIGEST_HEX // 2


@dataclass(frozen=True, slots=True, eq=False)
class CachedReport:
    """left_out: the digests of the names of what was filtered, one after the other. subjects: what the report is about."""

    version: str
    names: tuple[str, ...]
    packed: bytes
    left_out: bytes
    subjects: frozenset[Resource]


class ReportCache:
    """What all reports of one source say at this moment."""

    def __init__(self) -> None:
        self._reports: dict[str, CachedReport] = {}
        # Nearly every name stands in one report: a plain string then, a tuple only where several hold it.
        self._holders: dict[str, str | tuple[str, ...]] = {}
        # How many reports of a kind are about a resource.
        self._subjects: Tally[tuple[str, Resource]] = Tally()

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

    def replace(
        self, report: str, version: str, events: Collection[Event], *, left_out: Collection[str] = (), subjects: Collection[Resource] = ()
    ) -> set[str]:
        """This is what the report says now. Return every name that it says, or no longer says. left_out: names that were filtered."""
        names = tuple(dict.fromkeys(event.name for event in events))
        packed = zlib.compress(orjson.dumps(list(events)), 1)
        digests = b"".join(bytes.fromhex(name[-NAME_DIGEST_HEX:]) for name in left_out)
        touched = self.forget(report)
        self._reports[report] = CachedReport(version, names, packed, digests, frozenset(subjects))
        self._subjects.update((_kind_of(report), subject) for subject in subjects)
        for name in names:
            holders = self._holders_of(name)
            self._holders[name] = (*holders, report) if holders else report
        return touched.union(names)

    def forget(self, report: str) -> set[str]:
        """Return the names that the report said."""
        held = self._reports.pop(report, None)
        if held is None:
            return set()
        for subject in held.subjects:
            self._subjects[_kind_of(report), subject] -= 1
            if not self._subjects[_kind_of(report), subject]:
                del self._subjects[_kind_of(report), subject]
        for name in held.names:
            left = tuple(holder for holder in self._holders_of(name) if holder != report)
            if left:
                self._holders[name] = left if len(left) > 1 else left[0]
            else:
                del self._holders[name]
        return set(held.names)

    def speaks_of(self, report: str, resource: Resource) -> bool:
        """Whether this report, or another one of its kind, is still there to speak of the resource. NO_RESOURCE as a subject is all."""
        kind, held = _kind_of(report), self._reports.get(report)
        is_silent = held is not None and not held.subjects
        return is_silent or (kind, resource) in self._subjects or (kind, NO_RESOURCE) in self._subjects

    def filtered_among(self, names: Collection[str]) -> set[str]:
        """Those of the names that a report still says, and that were filtered."""
        wanted = {bytes.fromhex(name[-NAME_DIGEST_HEX:]): name for name in names}
        found: set[str] = set()
        for held in self._reports.values() if wanted else ():
            for place in range(0, len(held.left_out), _DIGEST_BYTES):
                if name := wanted.get(held.left_out[place : place + _DIGEST_BYTES]):
                    found.add(name)
        return found

    def merged(self, names: Iterable[str]) -> Iterator[tuple[str, Event, tuple[str, ...]]]:
        """Per name the merged event and the reports that hold it; nothing for a name that none does any more.

        Names of one report come together, so that each report is unpacked about once.
        """
        by_report: dict[str, list[str]] = {}
        for name in names:
            holders = self._holders_of(name)
            if holders:
                by_report.setdefault(holders[0], []).append(name)
        for report, together in by_report.items():
            unpacked: dict[CachedReport, dict[str, list[Event]]] = {}
            for name in together:
                holders = self._holders_of(name)
                if report not in holders:
                    # It changed while the consumer was busy; it is touched again and comes with the next call.
                    continue
                said = [self._unpacked(holder, unpacked)[name] for holder in holders]
                yield name, merge(list(chain.from_iterable(said))), holders

    def _unpacked(self, report: str, cache: dict[CachedReport, dict[str, list[Event]]]) -> dict[str, list[Event]]:
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


def _kind_of(report: str) -> str:
    """vulnerabilityreports.aquasecurity.github.io of vulnerabilityreports.aquasecurity.github.io/default/nginx."""
    return report.partition("/")[0]
