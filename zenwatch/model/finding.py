"""A finding: what a tool reports, before it is normalised. Watchers yield these."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

Scalar = str | int | float | bool
Detail = Scalar | Sequence[str] | Mapping[str, str]


class Severity(StrEnum):
    """The single scale over all tools, the worst first (docs/severity.md, "The scale")."""

    CRITICAL = "CRITICAL"
    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"
    INFO = "INFO"

    @property
    def rank(self) -> int:
        """0 is the worst, so that sorting by rank puts the worst first."""
        return _RANK[self]

    def is_at_least(self, other: "Severity") -> bool:
        return self.rank <= other.rank


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Category(StrEnum):
    SECURITY = "security"
    COMPLIANCE = "compliance"


@dataclass(frozen=True, slots=True)
class FindingType:
    """One row of the table "by source": what all findings of this type have in common."""

    source: str
    name_prefix: str
    event_type: str
    category: Category


@dataclass(frozen=True, slots=True)
class Resource:
    """The Kubernetes object that a finding is about. An unknown part is the empty string."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one tool reports of one resource.

    key: the specification's deduplication key without the cluster. Findings of one key become one record.
    tool_score: the tool's own number on the CVSS scale, 0.0 to 10.0, where it gives one.
    has_fix: something can be done today: a fixed version exists, say.
    details: scalars and mappings describe this finding; lists are united over all findings of the key.
    detected_at: the tool's own time; without a zone it counts as UTC. None: when we first saw it.
    """

    type: FindingType
    key: str
    severity: Severity
    title: str
    resource: Resource = Resource()
    details: Mapping[str, Detail] = field(default_factory=dict)
    remediation: str = ""
    references: Sequence[str] = ()
    tool_score: float | None = None
    has_fix: bool = False
    detected_at: datetime | None = None
