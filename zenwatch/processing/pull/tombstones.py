"""Reports that are gone and may come back: the Trivy Operator deletes each report every 24 h and writes it again.

In: reports that were deleted, or not there any more after a restart, with the names they said.  Out: names whose time is up.
Owns: one entry per such report, for as long as the grace lasts or until it may be concluded that it is gone.
Stops: nothing to stop; after a restart what is stored and not reported is a ghost anew.
"""

from collections import Counter as Tally
from collections.abc import Callable, Collection

from zenwatch.contract import Clock


class Tombstones:
    def __init__(self, clock: Clock, *, grace_secs: float) -> None:
        self._clock = clock
        self._grace_secs = grace_secs
        # Report → since when it is gone, and what it said.
        self._gone: dict[str, tuple[float, frozenset[str]]] = {}
        self._names: Tally[str] = Tally()

    def add(self, report: str, names: Collection[str]) -> None:
        """The report is gone from now on. One that is a ghost already said these names too; perhaps it only could not be read until now."""
        _, before = self._gone.get(report, (0.0, frozenset[str]()))
        if names or before:
            self._gone[report] = (self._clock.monotonic_secs(), before.union(names))
            self._names.update(set(names) - before)

    def drop(self, report: str) -> frozenset[str]:
        """It is back, or its time is up. Return what it said."""
        _, names = self._gone.pop(report, (0.0, frozenset[str]()))
        for name in names:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
        return names

    def hold(self, name: str) -> bool:
        """Whether one of them said it: then nothing is known of it yet."""
        return name in self._names

    def expire(self, may_conclude: Callable[[str], bool]) -> set[str]:
        """Drop those whose grace is over, of whose report it may be concluded that it is gone. Return what they said."""
        now = self._clock.monotonic_secs()
        over = [report for report, (since, _) in self._gone.items() if now - since >= self._grace_secs and may_conclude(report)]
        return set[str]().union(*(self.drop(report) for report in over))
