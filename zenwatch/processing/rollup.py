"""Roll findings up: one record per origin and resource stands for those that have no space for records of their own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from heapq import nlargest

from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Severity
from zenwatch.processing.event.score import BANDS, score

PREFIX, EVENT_TYPE = "rollup-", "rollup"
# A person may write any number of 64 bits. The sum of them must be one, too.
_MOST_FINDINGS = 2**48
# A finding with such a score has a record of its own, whatever the budget.
ALWAYS_SCORE = BANDS[Severity.CRITICAL][0]


def is_rollup(name: str) -> bool:
    return name.startswith(PREFIX)


def rolled_up(event: Event) -> Event:
    """The event that stands for this event and others of the same origin and resource; so far for this one alone."""
    resource = event.resource
    key = f"{resource.namespace}/{resource.kind}/{resource.name}/*"
    return tallied(
        replace(
            event,
            name=record_name(PREFIX, cluster_id=event.cluster_id, source=event.source, key=key),
            key=key,
            event_type=EVENT_TYPE,
            remediation="Raise RECORD_BUDGET, or raise the tool's MIN_SEVERITY, to see each by itself.",
            references=(),
        ),
        {event.severity: 1},
    )


def tallied(event: Event, tally: Mapping[str, int]) -> Event:
    """A rollup that stands for so many findings. tally: by severity, at least one."""
    counts = {severity.value: tally.get(severity, 0) for severity in Severity if tally.get(severity, 0)}
    worst = Severity(next(iter(counts)))
    total, by_severity = sum(counts.values()), ", ".join(f"{count} {severity}" for severity, count in counts.items())
    return replace(
        event,
        severity=worst,
        score=score(worst, tool_score=None, has_fix=False),
        title=f"{total} findings without a record of their own: {by_severity}",
        details={**counts, "rolledUp": total},
    )


def tally_of(details: Mapping[str, object]) -> dict[str, int]:
    """The counts in a rollup's details; junk counts as nothing."""
    counts = ((severity.value, details.get(severity.value)) for severity in Severity)
    return {severity: count for severity, count in counts if isinstance(count, int) and 0 <= count < _MOST_FINDINGS}


def added(event: Event, tally: Mapping[str, int]) -> Event:
    """A rollup that stands for so many more findings; any other event unchanged."""
    if event.event_type != EVENT_TYPE or not tally:
        return event
    own = tally_of(event.details)
    return tallied(event, {severity: own.get(severity, 0) + tally.get(severity, 0) for severity in Severity})


@dataclass(slots=True)
class _Group:
    """like: the rollup event without its counts. tally: by severity."""

    like: Event
    tally: dict[str, int]


class Rollups:
    """changed: names of the rollup records that have to be compared with the store."""

    def __init__(self) -> None:
        self._members: dict[str, tuple[str, Severity, int]] = {}
        self._groups: dict[str, _Group] = {}
        self.changed: set[str] = set()

    def __len__(self) -> int:
        return len(self._members)

    def add(self, event: Event) -> str:
        """The event has no space. Return the name of the record that stands for it."""
        self.drop(event.name)
        stands_for = rolled_up(event)
        group = self._groups.setdefault(stands_for.name, _Group(stands_for, {}))
        # The order of arrival must not show: after a restart it is another, and the record would be written again.
        group.like = max(group.like, stands_for, key=lambda like: (like.category, like.resource.api_version))
        group.tally[event.severity] = group.tally.get(event.severity, 0) + 1
        self._members[event.name] = (stands_for.name, event.severity, event.score)
        self.changed.add(stands_for.name)
        return stands_for.name

    def drop(self, name: str) -> None:
        """The finding is gone, or has a record of its own."""
        if (member := self._members.pop(name, None)) is None:
            return
        group_name, severity, _ = member
        tally = self._groups[group_name].tally
        tally[severity] -= 1
        if not any(tally.values()):
            del self._groups[group_name]
        self.changed.add(group_name)

    def best(self, most: int) -> Collection[str]:
        """The names with the highest scores: they get space first."""
        return nlargest(most, self._members, key=lambda name: self._members[name][2])

    def event(self, name: str) -> Event | None:
        """The event of a rollup record; None: it stands for nothing any more."""
        group = self._groups.get(name)
        return tallied(group.like, group.tally) if group else None

    def total(self, name: str) -> int:
        """How many findings the rollup stands for."""
        return sum(self._groups[name].tally.values())
