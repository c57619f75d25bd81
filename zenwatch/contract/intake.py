"""What sources and processing promise each other."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from zenwatch.model.finding import Finding, Resource
from zenwatch.model.refs import ReportRef, Scope


@dataclass(frozen=True, slots=True)
class HookResponse:
    """What a webhook answers to the sender: an HTTP status, one line of text, and when to come again."""

    status: int
    line: str
    retry_after_secs: int | None = None


class Hook(Protocol):
    """What handles the bodies of one path. The server has authenticated the sender, and has bounded and unpacked the body."""

    @property
    def path(self) -> str: ...

    @property
    def media_types(self) -> Sequence[str]: ...

    @property
    def max_body_bytes(self) -> int: ...

    @property
    def token_in_path(self) -> bool: ...

    def count(self, status: int, *, sender: str = "") -> None:
        """A request to this path was answered with this status. sender: the address that it came from."""
        ...

    async def post(self, body: bytes, media_type: str) -> HookResponse:
        """Answer once the events are as safe as configured. Never raises for what a sender may send."""
        ...


class PushIntake(Protocol):
    """Takes what a tool posted and sees to it that the records follow."""

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        """Accept all findings of one body, or none. filtered, rejected: how many other events the body held, for the accounts.

        False: the buffer is full. If the sender sends again, nothing is counted then; otherwise the refused findings count as lost.
        """
        ...


class OwnerResolver(Protocol):
    """Knows which controller owns what."""

    async def controller_of(self, resource: Resource) -> Resource:
        """Return what owns a Pod or ReplicaSet (Deployment, StatefulSet, DaemonSet, CronJob, Job); else the resource. Raises Transient."""
        ...


class Intake(Protocol):
    """Takes what the reports of one origin hold and sees to it that the records follow.

    All but settle() changes memory only; settle() writes. Unknown is never empty: a report that could not be read keeps what it held, and
    nothing is concluded from the silence of a scope that is stale.
    """

    def version_of(self, report: ReportRef) -> str | None:
        """The version that was taken last; None for an unknown report."""
        ...

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
        """These are all findings of the report now. subject: what the report is about; None: what its findings are about.

        former: those that GROUP_BY_OWNER gave another key, as the tool reports them.
        rejected: how many of its entries are not understood, for the accounts. Any of them may stand for any finding of the report: what it
        held before, and what is stored of it, stays as it is until a version is understood whole.
        """
        ...

    def cannot_read(self, report: ReportRef, *, rejected: int = 0) -> None:
        """The report is there, but nothing of it is understood: it keeps what it held. rejected: for the accounts."""
        ...

    def forget(self, report: ReportRef) -> None:
        """The report was deleted."""
        ...

    def replace_all(self, scope: Scope, reports: Collection[ReportRef]) -> None:
        """A complete list of the scope holds just these reports: forget the others. From now on the scope is fresh."""
        ...

    def mark_stale(self, scope: Scope) -> None:
        """Changes in the scope are not reported for the time being: conclude nothing from silence."""
        ...

    def mark_fresh(self, scope: Scope) -> None:
        """All changes of the meantime were reported."""
        ...

    async def settle(self) -> None:
        """Write what is not settled yet and return when all of it is. Transient: some is left; call again later."""
        ...
