"""Who sends a request, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a route may ask for. Posting and reading are different roles: a sender needs no status, a dashboard posts nothing."""

    POST_EVENTS = "post-events"
    READ_STATUS = "read-status"
    READ_METRICS = "read-metrics"


ALL_ROLES = frozenset(Role)


class PrincipalKind(StrEnum):
    """How the sender showed who it is."""

    TOKEN = "token"  # noqa: S105  a kind, no secret
    CERTIFICATE = "certificate"
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Principal:
    """The sender of a request.

    name: for logs and audit rows; never a secret. cluster_id: the only cluster that the principal may post for or read about;
    None: every cluster. namespaces: the only namespaces; None: all.
    """

    name: str
    kind: PrincipalKind
    roles: frozenset[Role]
    cluster_id: str | None = None
    namespaces: frozenset[str] | None = None


ANONYMOUS = Principal("anonymous", PrincipalKind.ANONYMOUS, frozenset())
