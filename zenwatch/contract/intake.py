"""What the rooms on the way in promise each other: sources, buffers, and what takes findings from them."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from zenwatch.model.event import Event
from zenwatch.model.finding import Finding, Resource
from zenwatch.model.queue import DeadLetter, Fill, Intent, QueuedEvent
from zenwatch.model.write import Outcome


@dataclass(frozen=True, slots=True)
class HookResponse:
    """What a webhook's sender is told: an HTTP status, one line of text, and when to come again."""

    status: int
    line: str
    retry_after_secs: int | None = None


class Hook(Protocol):
    """What stands behind one path of the server. The server has checked who posts, and bounded and unpacked the body."""

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


class OutcomeRecorder(Protocol):
    """Remembers what became of events, for whoever asks."""

    def tell(self, source: str, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        """why: a sentence. name: of the record, where there is one."""
        ...


class PushIntake(Protocol):
    """Takes what a tool pushed and sees to it that the records follow."""

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        """Take all of one body, or nothing of it. filtered, rejected: how many other events the body held, for the ledger.

        False: the buffer is full. Nothing is counted then if the sender comes again; else what did not fit is counted as lost.
        """
        ...


class OwnerResolver(Protocol):
    """Knows which controller runs what."""

    async def controller_of(self, resource: Resource) -> Resource:
        """The Deployment, StatefulSet, DaemonSet, CronJob or Job that owns a Pod or ReplicaSet; else the resource. Raises Transient."""
        ...


class Intake(Protocol):
    """Takes what the reports of one source say and sees to it that the records follow.

    A report is named by its reference (resource/namespace/name) and has a version. A place is a resource, or resource/namespace.
    All but settle() is memory only; settle() writes. A report that could not be read is neither taken nor forgotten, and a place that
    is out of sight is not empty: unknown is never empty.
    """

    def version_of(self, report: str) -> str | None:
        """The version that was taken last; None for a report that is not held."""
        ...

    def take(self, report: str, version: str, findings: Sequence[Finding], *, subject: Resource | None = None) -> None:
        """This is all that the report says now; it replaces what it said before. subject: what it is about; None: what its findings are."""
        ...

    def cannot_read(self, report: str) -> None:
        """It is there, but what it says now is not known: what it said before stays."""
        ...

    def forget(self, report: str) -> None:
        """The report was deleted."""
        ...

    def replace_all(self, place: str, reports: Collection[str]) -> None:
        """A complete list of the place holds just these: forget its other ones. From now on the place is in sight."""
        ...

    def mark_stale(self, place: str) -> None:
        """What changes there is not told for the time being: conclude nothing from what is not told."""
        ...

    def mark_fresh(self, place: str) -> None:
        """All that changed meanwhile was told."""
        ...

    async def settle(self) -> None:
        """Write what is not settled yet and return when all of it is. Transient: some is left; call again later."""
        ...


class Inbox(Protocol):
    """Between a webhook and the worker: bounded, in memory or on disk. Each event is received once, released once, settled once."""

    @property
    def is_durable(self) -> bool:
        """What was taken and not settled is received again after a restart."""
        ...

    @property
    def is_pressed(self) -> bool:
        """It is half full: whatever can be stored should be stored now."""
        ...

    @property
    def fill(self) -> Fill: ...

    def call_when_taken(self, call: Callable[[int], None]) -> None:
        """call(events) for every batch that is taken, before any of it is received."""
        ...

    async def offer(self, events: Sequence[Event]) -> bool:
        """Take all or none, and return when they are as safe as they will be. False: full, or closed, or the disk refuses; the caller
        answers so that a sender who retries comes back. More than its capacity at once is taken if it is empty: a batch cannot be made
        smaller by sending it again.
        """
        ...

    async def receive(self) -> QueuedEvent:
        """The next event, in the order of the offers. Raises Closed once it is closed and all was received."""
        ...

    def release(self, message_ids: Sequence[int]) -> None:
        """These events need no room in memory any more: they are settled, or became part of another one's write."""
        ...

    async def intend(self, intents: Sequence[Intent]) -> None:
        """Return once it is safe to make these writes. Each replaces an earlier intent for the same record."""
        ...

    def settle(self, message_ids: Sequence[int]) -> None:
        """What became of these events is known: never give them out again."""
        ...

    def close(self) -> None:
        """Take nothing more; what is in it can still be received."""
        ...


class DeadLetters(Protocol):
    """Where events go that no record will tell of."""

    async def put(self, letter: DeadLetter) -> None:
        """Keep it where somebody can look at it. Raises nothing: at worst it is a line in the log."""
        ...
