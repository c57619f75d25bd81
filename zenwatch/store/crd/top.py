"""Count the stored records by what they have in common, so that many records are one line (`zenwatch top`).

A value (a CVE, a policy, a rule, a namespace, an image or an actor) has an entry as long as a stored record has it.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from heapq import nsmallest
from operator import itemgetter
from typing import Any

from prometheus_client import Gauge

from zenwatch.metrics import RECORDS
from zenwatch.model.finding import Severity
from zenwatch.model.record import DIMENSIONS, FACETS, Stored
from zenwatch.model.refs import Origin

_SEVERITIES = {severity.value: slot for slot, severity in enumerate(Severity)}
# One slot for the open records of each severity, then one for all that are not open.
_SLOTS = len(_SEVERITIES) + 1


class TopGroups:
    def __init__(self) -> None:
        self._counts: dict[str, dict[str, list[int]]] = {dimension: {} for dimension in DIMENSIONS}

    def replace(self, before: Stored | None, after: Stored | None) -> None:
        """None: the record was not known, or is gone."""
        if before is not None:
            self._add(before, -1)
        if after is not None:
            self._add(after, +1)

    def top(self, dimension: str, limit: int) -> list[dict[str, Any]]:
        """The values with open records: those with the most of the worst severity first. dimension: one of DIMENSIONS."""
        groups = ((_weight(value, counts), value, counts) for value, counts in self._counts[dimension].items() if any(counts[:-1]))
        return [_line(value, counts) for _, value, counts in nsmallest(limit, groups, key=itemgetter(0))]

    def size(self, dimension: str) -> int:
        """How many values have open records."""
        return sum(any(counts[:-1]) for counts in self._counts[dimension].values())

    def _add(self, stored: Stored, change: int) -> None:
        _gauge(stored.origin, stored.severity, stored.phase).inc(change)
        slot = _SEVERITIES.get(stored.severity, _SLOTS - 2) if stored.is_open else _SLOTS - 1
        for dimension, value in _values_of(stored):
            groups = self._counts[dimension]
            counts = groups.get(value)
            if counts is None:
                groups[value] = counts = [0] * _SLOTS
            counts[slot] += change
            if change < 0 and not any(counts):
                del groups[value]


@cache
def _gauge(origin: Origin, severity: str, phase: str) -> Gauge:
    return RECORDS.labels(*origin, severity, phase)


def _values_of(stored: Stored) -> Iterator[tuple[str, str]]:
    for facet in FACETS:
        if value := getattr(stored, facet):
            yield facet, value
    if stored.resource.namespace:
        yield "namespace", stored.resource.namespace


def _weight(value: str, counts: list[int]) -> tuple[list[int], str]:
    """Smaller is worse: compared severity by severity, the worst one first."""
    return [-count for count in counts[:-1]], value


def _line(value: str, counts: list[int]) -> dict[str, Any]:
    open_by: Mapping[str, int] = {severity.value: counts[slot] for slot, severity in enumerate(Severity)}
    worst = next(severity for severity, count in open_by.items() if count)
    return {"value": value, "worst": worst, "open": sum(counts[:-1]), **open_by, "resolved": counts[-1]}
