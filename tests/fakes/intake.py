"""contract.Intake that only remembers what it was told."""

from collections.abc import Collection, Sequence

from zenwatch.model.finding import Finding


class NotedIntake:
    """held: per report its version and its findings. kept: the arguments of every keep_only. settled: how often settle() was called."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, list[Finding]]] = {}
        self.kept: list[tuple[str, set[str]]] = []
        self.settled = 0
        self.failures: list[Exception] = []

    def version_of(self, report: str) -> str | None:
        return self.held[report][0] if report in self.held else None

    def take(self, report: str, version: str, findings: Sequence[Finding]) -> None:
        self.held[report] = (version, list(findings))

    def forget(self, report: str) -> None:
        self.held.pop(report, None)

    def keep_only(self, resource: str, reports: Collection[str]) -> None:
        self.kept.append((resource, set(reports)))
        for report in [held for held in self.held if held not in reports]:
            del self.held[report]

    async def settle(self) -> None:
        self.settled += 1
        if self.failures:
            raise self.failures.pop(0)
