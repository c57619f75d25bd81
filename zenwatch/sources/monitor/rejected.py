"""Remember which reports of a source cannot be read, wholly or in part, and why: until they can be read, or are gone."""

from collections.abc import Collection
from dataclasses import dataclass
from heapq import nsmallest

from zenwatch.model.refs import ReportRef, Scope


@dataclass(frozen=True, slots=True)
class Rejection:
    """version: of the report. reason: a sentence, of the first entry that is not understood. entries: how many; 0: the whole report."""

    version: str
    reason: str
    entries: int = 0


class RejectedReports:
    """Of one source. Each holds a sentence, and much less than a report that can be read."""

    def __init__(self) -> None:
        self._rejections: dict[ReportRef, Rejection] = {}

    def __len__(self) -> int:
        return len(self._rejections)

    def first(self, most: int) -> list[tuple[ReportRef, Rejection]]:
        """By kind, namespace and name."""
        return nsmallest(most, self._rejections.items())

    def knows(self, report: ReportRef, version: str) -> bool:
        """Whether this version was rejected: it need not be parsed, counted and logged again."""
        rejection = self._rejections.get(report)
        return rejection is not None and rejection.version == version

    def add(self, report: ReportRef, rejection: Rejection) -> None:
        self._rejections[report] = rejection

    def drop(self, report: ReportRef) -> None:
        """It can be read now, or it is gone."""
        self._rejections.pop(report, None)

    def forget_others(self, scope: Scope, reports: Collection[ReportRef]) -> None:
        """A complete list of the scope holds just these reports."""
        for report in [each for each in self._rejections if scope.contains(each) and each not in reports]:
            del self._rejections[report]
