"""contract.Intake that only remembers what it was given."""

from collections.abc import Collection, Sequence

from zenwatch.model.finding import Finding, Resource
from zenwatch.model.refs import ReportRef, Scope


class NotedIntake:
    """Reports and scopes by their text. held: per report its version and findings. kept: the arguments of every replace_all.

    rejected: how many entries were not understood. fresh: scopes. settled: how often settle() was called. failures: what the next calls of
    settle() raise.
    """

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, list[Finding]]] = {}
        self.kept: list[tuple[str, set[str]]] = []
        self.subjects: dict[str, Resource | None] = {}
        self.unreadable: set[str] = set()
        self.rejected = 0
        self.fresh: set[str] = set()
        self.settled = 0
        self.failures: list[Exception] = []

    def version_of(self, report: ReportRef) -> str | None:
        version, _ = self.held.get(str(report), (None, ()))
        return version

    def take(
        self,
        report: ReportRef,
        version: str,
        findings: Sequence[Finding],
        *,
        subject: Resource | None = None,
        former: Sequence[Finding] = (),
        rejected: int = 0,
    ) -> None:
        self.held[str(report)] = (version, list(findings))
        self.subjects[str(report)] = subject
        self.rejected += rejected
        self.unreadable.discard(str(report))

    def cannot_read(self, report: ReportRef, *, rejected: int = 0) -> None:
        self.rejected += rejected
        self.unreadable.add(str(report))

    def forget(self, report: ReportRef) -> None:
        self.held.pop(str(report), None)

    def mark_stale(self, scope: Scope) -> None:
        self.fresh.discard(str(scope))

    def mark_fresh(self, scope: Scope) -> None:
        self.fresh.add(str(scope))

    def replace_all(self, scope: Scope, reports: Collection[ReportRef]) -> None:
        kept = set(map(str, reports))
        self.kept.append((str(scope), kept))
        self.fresh.add(str(scope))
        for report in [held for held in self.held if held not in kept]:
            del self.held[report]

    async def settle(self) -> None:
        self.settled += 1
        if self.failures:
            raise self.failures.pop(0)
