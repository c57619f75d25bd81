"""contract.Intake that only remembers what it was told."""

from collections.abc import Collection, Sequence

from zenwatch.model.finding import Finding, Resource


class NotedIntake:
    """held: per report its version and its findings. kept: the arguments of every keep_only. settled: how often settle() was called."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, list[Finding]]] = {}
        self.kept: list[tuple[str, set[str]]] = []
        self.subjects: dict[str, Resource | None] = {}
        self.unreadable: set[str] = set()
        self.in_sight: set[str] = set()
        self.settled = 0
        self.failures: list[Exception] = []

    def version_of(self, report: str) -> str | None:
        return self.held[report][0] if report in self.held else None

    def take(self, report: str, version: str, findings: Sequence[Finding], *, subject: Resource | None = None) -> None:
        self.held[report] = (version, list(findings))
        self.subjects[report] = subject
        self.unreadable.discard(report)

    def cannot_read(self, report: str) -> None:
        self.unreadable.add(report)

    def forget(self, report: str) -> None:
        self.held.pop(report, None)

    def mark_stale(self, place: str) -> None:
        self.in_sight.discard(place)

    def mark_fresh(self, place: str) -> None:
        self.in_sight.add(place)

    def replace_all(self, place: str, reports: Collection[str]) -> None:
        self.kept.append((place, set(reports)))
        self.in_sight.add(place)
        for report in [held for held in self.held if held not in reports]:
            del self.held[report]

    async def settle(self) -> None:
        self.settled += 1
        if self.failures:
            raise self.failures.pop(0)
