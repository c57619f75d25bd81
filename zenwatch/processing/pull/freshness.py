"""What may be concluded from silence: only where reports are watched, and only of reports that can be read."""

from collections.abc import Collection

from zenwatch.model.refs import ReportRef, Scope


class Freshness:
    """A scope is fresh from its complete list on until its watch is interrupted, and again once the watch has caught up."""

    def __init__(self, scopes: Collection[Scope], *, is_confined: bool) -> None:
        """scopes: all that are read. is_confined: other scopes may hold reports as well, which are not read."""
        self._scopes = frozenset(scopes)
        self._kinds = {scope.kind for scope in scopes}
        self._is_confined = is_confined
        self._fresh: set[Scope] = set()
        self._unreadable: set[ReportRef] = set()
        self._has_new_scope = False

    def mark_listed(self, scope: Scope) -> None:
        """All reports of the scope are known now."""
        self._has_new_scope = self._has_new_scope or scope not in self._fresh
        self._fresh.add(scope)

    def mark_fresh(self, scope: Scope) -> None:
        self._fresh.add(scope)

    def mark_stale(self, scope: Scope) -> None:
        self._fresh.discard(scope)

    def pop_new_scope(self) -> bool:
        """Whether a stale scope was listed since the last call: it may be the scope of stored records that no report holds any more."""
        has_new_scope, self._has_new_scope = self._has_new_scope, False
        return has_new_scope

    def mark_unreadable(self, report: ReportRef) -> None:
        self._unreadable.add(report)

    def mark_readable(self, report: ReportRef) -> None:
        self._unreadable.discard(report)

    def unreadable_in(self, scope: Scope) -> list[ReportRef]:
        return [report for report in self._unreadable if scope.contains(report)]

    @property
    def is_everything_fresh(self) -> bool:
        return self._fresh >= self._scopes

    def is_watched(self, report: ReportRef | None) -> bool:
        """Whether changes of the report would be known. None, or a kind that nobody reads: any report may be meant."""
        if report is None or report.kind not in self._kinds:
            return not self._is_confined and self.is_everything_fresh
        return Scope(report.kind) in self._fresh or Scope(report.kind, report.namespace) in self._fresh

    def is_absent(self, report: ReportRef | None) -> bool:
        """Whether an unknown report may be concluded to be gone."""
        return self.is_watched(report) and report not in self._unreadable
