"""Reports that are gone and may come back: the Trivy Operator deletes each report every 24 h and writes it again.

A report has a tombstone as long as the grace lasts, or until it may be concluded that it is gone. After a restart, records that no report
holds have tombstones anew.
"""

from collections import Counter as Tally
from collections.abc import Callable, Collection

from zenwatch.contract import Clock
from zenwatch.model.refs import ReportRef


class Tombstones:
    def __init__(self, clock: Clock, *, grace_secs: float) -> None:
        self._clock = clock
        self._grace_secs = grace_secs
        # Report → since when it is gone, and the names that it held. None stands for reports that their records do not name.
        self._gone: dict[ReportRef | None, tuple[float, frozenset[str]]] = {}
        self._names: Tally[str] = Tally()

    def add(self, report: ReportRef | None, names: Collection[str]) -> None:
        """The report is gone from now on, and held these names; perhaps others too, if it has a tombstone already."""
        _, before = self._gone.get(report, (0.0, frozenset[str]()))
        if names or before:
            self._gone[report] = (self._clock.monotonic_secs(), before.union(names))
            self._names.update(set(names) - before)

    def drop(self, report: ReportRef | None) -> frozenset[str]:
        """The report is back, or its time is over. Return the names that it held."""
        _, names = self._gone.pop(report, (0.0, frozenset[str]()))
        for name in names:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
        return names

    def hold(self, name: str) -> bool:
        """Whether a gone report held the name: nothing is known of its finding yet."""
        return name in self._names

    def expire(self, may_conclude: Callable[[ReportRef | None], bool]) -> set[str]:
        """Drop the reports whose grace is over and that may be concluded to be gone. Return the names that they held."""
        now = self._clock.monotonic_secs()
        over = [report for report, (since, _) in self._gone.items() if now - since >= self._grace_secs and may_conclude(report)]
        return set[str]().union(*(self.drop(report) for report in over))
