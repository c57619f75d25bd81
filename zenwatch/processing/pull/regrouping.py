"""Recognise a finding that its report still holds, under the name that it has since GROUP_BY_OWNER was switched."""

from collections.abc import Callable, Collection

from zenwatch.errors import BadInput
from zenwatch.model.event import NAME_DIGEST_HEX, Event
from zenwatch.model.finding import Finding, FindingType, Resource
from zenwatch.model.record import Stored
from zenwatch.model.refs import ReportRef
from zenwatch.processing.event.normalise import name_of
from zenwatch.processing.pull.report_cache import ReportCache
from zenwatch.runtime.supervise import plugin_boundary

Regroup = Callable[[Finding, Resource], Finding]


class Regrouping:
    """Of one round. With GROUP_BY_OWNER the cache knows what the tool itself names a finding; without, the record names the controller."""

    def __init__(self, cache: ReportCache, regroup: Regroup | None, absent: Collection[str]) -> None:
        """regroup: what the setting would make of a finding, where it is off. absent: the names of records that no report holds."""
        self._cache = cache
        self._regroup = regroup
        self._former = cache.former_among(absent)
        self._grouped: dict[tuple[ReportRef, Resource], frozenset[str]] = {}

    def renamed(self, stored: Stored) -> bool:
        """Whether a report holds the finding of this record under another name."""
        if stored.name in self._former:
            return True
        report = stored.report_ref
        if self._regroup is None or report is None:
            return False
        key = report, stored.resource
        if key not in self._grouped:
            self._grouped[key] = frozenset(self._names_of(self._regroup, report, stored.resource))
        return stored.name in self._grouped[key]

    def _names_of(self, regroup: Regroup, report: ReportRef, owner: Resource) -> Collection[str]:
        """The names that the findings of the report would have if this were their controller."""
        try:
            with plugin_boundary("regrouping"):
                events = self._cache.events_of(report)
                return {name_of(regroup(_finding(event), owner), cluster_id=event.cluster_id) for event in events}
        except BadInput:
            # Only the reason would be more exact.
            return ()


def _finding(event: Event) -> Finding:
    type_ = FindingType(event.source, event.name[:-NAME_DIGEST_HEX], event.event_type, event.category)
    return Finding(type_, event.key, event.severity, event.title, event.resource, event.details)
