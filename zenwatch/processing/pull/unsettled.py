"""Names whose records are not known to agree with the reports, and the findings that wait for each of them in the accounts."""

from collections.abc import Collection, Iterator


class Unsettled:
    def __init__(self) -> None:
        # 0 findings: only what is stored has to be compared again.
        self._findings: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._findings)

    def __contains__(self, name: str) -> bool:
        return name in self._findings

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._findings))

    def touch(self, names: Collection[str]) -> None:
        """Compare these records again."""
        for name in names:
            self._findings.setdefault(name, 0)

    def add(self, name: str, findings: int = 1) -> None:
        self._findings[name] = self._findings.get(name, 0) + findings

    def pop(self, name: str) -> int:
        """The record is settled, or a write is on its way. Return the findings that waited for it."""
        return self._findings.pop(name, 0)
