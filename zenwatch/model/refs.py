"""What findings come from, and which reports hold them: keys, parsed once and compared as they are."""

from functools import lru_cache
from typing import NamedTuple


class Origin(NamedTuple):
    """Where findings come from: the key of accounts, caches, outcomes, monitors and metrics.

    cluster_id: the cluster whose findings they are. source: the tool, as in the record's `source`.
    """

    cluster_id: str
    source: str

    def __str__(self) -> str:
        return f"{self.cluster_id}/{self.source}"


class Scope(NamedTuple):
    """Where reports are read. kind: as RBAC writes it (vulnerabilityreports.aquasecurity.github.io). namespace: empty for all."""

    kind: str
    namespace: str = ""

    def contains(self, report: "ReportRef") -> bool:
        return self.kind == report.kind and self.namespace in ("", report.namespace)

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}" if self.namespace else self.kind


class ReportRef(NamedTuple):
    """One report: an object that a tool writes, and rewrites under the same name. namespace: empty for an object of the whole cluster."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "ReportRef | None":
        """Read back what str() wrote: kind/namespace/name. None: the text is no such reference."""
        return _parsed(text)

    @property
    def text(self) -> str:
        """For a person: configmaps shop/results, as kubectl takes it with -n shop."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def __str__(self) -> str:
        return f"{self.kind}/{self.namespace}/{self.name}"


# The records of one report share its reference.
@lru_cache(maxsize=4096)
def _parsed(text: str) -> ReportRef | None:
    parts = text.split("/", 2)
    return ReportRef(*parts) if len(parts) == 3 and parts[0] and parts[2] else None
