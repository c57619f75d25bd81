"""What each report of one origin holds: its version, its names, what it is about, and its events.

The events are compressed: 70 bytes per event in reports of 20 that resemble each other.
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
from zenwatch.model.refs import ReportRef, Scope
from zenwatch.processing.event.merge import merge

_DIGEST_BYTES = NAME_DIGEST_HEX // 2


@dataclass(frozen=True, slots=True, eq=False)
class CachedReport:
    """filtered: the digests of the names that were filtered, one after the other; former: of those without GROUP_BY_OWNER.

    subjects: what the report is about.
    is_whole: all its entries were understood. Otherwise it also holds what it held before.
    """

    version: str
    names: tuple[str, ...]
    packed: bytes
    filtered: bytes
    former: bytes
    subjects: frozenset[Resource]
    is_whole: bool


class ReportCache:
    def __init__(self) -> None:
        self._reports: dict[ReportRef, CachedReport] = {}
        # Nearly every name stands in one report: only that reference then, a list where several reports hold it.
        self._holders: dict[str, ReportRef | list[ReportRef]] = {}
        # How many reports of a kind are about a resource.
        self._subjects: Tally[tuple[str, Resource]] = Tally()
        self._unclear: dict[ReportRef, frozenset[Resource]] = {}

    def __len__(self) -> int:
        return len(self._reports)

    def __contains__(self, name: str) -> bool:
        return name in self._holders

    def version_of(self, report: ReportRef) -> str | None:
        cached = self._reports.get(report)
        return cached.version if cached else None

    def names(self) -> Collection[str]:
        return self._holders.keys()

    def reports_in(self, scope: Scope) -> list[ReportRef]:
        return [report for report in self._reports if scope.contains(report)]

    def replace(
        self,
        report: ReportRef,
        version: str,
        events: Collection[Event],
        *,
        filtered: Collection[str] = (),
        former: Collection[str] = (),
        subjects: Collection[Resource] = (),
        is_whole: bool = True,
    ) -> set[str]:
        """These are the events of the report now. Return every name that it holds, or held before.

        filtered: names that were filtered. former: names that its events would have without GROUP_BY_OWNER.
        is_whole False: some entries were not understood. They may be any of the events that it held before, which it therefore keeps.
        """
        if not is_whole and (before := self._reports.get(report)):
            events, subjects = [*events, *self._others(report, events)], before.subjects.union(subjects)
        names = tuple(dict.fromkeys(event.name for event in events))
        packed = zlib.compress(orjson.dumps(list(events)), 1)
        digests = _digests(filtered), _digests(former)
        touched = self.forget(report)
        self._reports[report] = CachedReport(version, names, packed, *digests, frozenset(subjects), is_whole)
        if not is_whole:
            self._unclear[report] = frozenset(subjects)
        self._subjects.update((report.kind, subject) for subject in subjects)
        for name in names:
            holders = self._holders_of(name)
            self._holders[name] = [*holders, report] if holders else report
        return touched.union(names)

    def forget(self, report: ReportRef) -> set[str]:
        """Return the names that the report held."""
        cached = self._reports.pop(report, None)
        self._unclear.pop(report, None)
        if cached is None:
            return set()
        for subject in cached.subjects:
            self._subjects[report.kind, subject] -= 1
            if not self._subjects[report.kind, subject]:
                del self._subjects[report.kind, subject]
        for name in cached.names:
            left = [holder for holder in self._holders_of(name) if holder != report]
            if left:
                self._holders[name] = left if len(left) > 1 else left[0]
            else:
                del self._holders[name]
        return set(cached.names)

    def covers(self, report: ReportRef | None, resource: Resource) -> bool:
        """Whether this report, or another one of its kind, is still there and about the resource. A report about NO_RESOURCE covers all."""
        kind = report.kind if report is not None else ""
        cached = self._reports.get(report) if report is not None else None
        is_about_nothing = cached is not None and not cached.subjects
        return is_about_nothing or (kind, resource) in self._subjects or (kind, NO_RESOURCE) in self._subjects

    def unclear_report(self, report: ReportRef | None, resource: Resource) -> ReportRef | None:
        """This report, or another one of its kind about the resource, if some of its entries were not understood. None: there is none."""
        if report is None or report in self._unclear:
            return report
        return next((other for other, subjects in self._unclear.items() if other.kind == report.kind and resource in subjects), None)

    def filtered_among(self, names: Collection[str]) -> set[str]:
        """Those of the names that a report still holds, and that were filtered."""
        return _among(names, (cached.filtered for cached in self._reports.values()))

    def former_among(self, names: Collection[str]) -> set[str]:
        """Those of the names that stand for something that a report still holds, under another name."""
        return _among(names, (cached.former for cached in self._reports.values()))

    def events_of(self, report: ReportRef) -> list[Event]:
        """Empty for an unknown report."""
        return list(chain.from_iterable(self._unpacked(report, {}).values())) if report in self._reports else []

    def merged(self, names: Iterable[str]) -> Iterator[tuple[str, Event, tuple[ReportRef, ...]]]:
        """Per name the merged event and the reports that hold it; nothing for a name that none does any more.

        Names of one report come together, so that each report is unpacked about once.
        """
        for report, together in self._grouped(names).items():
            unpacked: dict[CachedReport, dict[str, list[Event]]] = {}
            for name in together:
                holders = self._holders_of(name)
                if report not in holders:
                    # It changed while the consumer was busy; it is touched again and comes with the next call.
                    continue
                events = [self._unpacked(holder, unpacked)[name] for holder in holders]
                yield name, merge(list(chain.from_iterable(events))), holders

    def by_report(self, names: Iterable[str]) -> list[str]:
        """The names that a report holds; those of the same report come together."""
        return list(chain.from_iterable(self._grouped(names).values()))

    def _grouped(self, names: Iterable[str]) -> dict[ReportRef, list[str]]:
        groups: dict[ReportRef, list[str]] = {}
        for name in names:
            if holders := self._holders_of(name):
                groups.setdefault(holders[0], []).append(name)
        return groups

    def _others(self, report: ReportRef, events: Collection[Event]) -> list[Event]:
        """What the report holds beside these events."""
        names = {event.name for event in events}
        return [event for event in self.events_of(report) if event.name not in names]

    def _unpacked(self, report: ReportRef, cache: dict[CachedReport, dict[str, list[Event]]]) -> dict[str, list[Event]]:
        cached = self._reports[report]
        if cached not in cache:
            by_name: dict[str, list[Event]] = {}
            for fields in orjson.loads(zlib.decompress(cached.packed)):
                by_name.setdefault(fields["name"], []).append(Event.from_json(fields))
            cache[cached] = by_name
        return cache[cached]

    def _holders_of(self, name: str) -> tuple[ReportRef, ...]:
        holders = self._holders.get(name, ())
        return (holders,) if isinstance(holders, ReportRef) else tuple(holders)


def _digests(names: Collection[str]) -> bytes:
    return b"".join(bytes.fromhex(name[-NAME_DIGEST_HEX:]) for name in names)


def _among(names: Collection[str], digests: Iterable[bytes]) -> set[str]:
    """Those of the names whose digests are there."""
    wanted = {bytes.fromhex(name[-NAME_DIGEST_HEX:]): name for name in names}
    found: set[str] = set()
    for joined in digests if wanted else ():
        for start in range(0, len(joined), _DIGEST_BYTES):
            if name := wanted.get(joined[start : start + _DIGEST_BYTES]):
                found.add(name)
    return found
