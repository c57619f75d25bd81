"""The change feed: every write that the store confirmed, in order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zenwatch.model.event import Event
from zenwatch.model.record import Stored


@dataclass(frozen=True, slots=True)
class RecordChange:
    """One confirmed write.

    seq: rises by one with every change. before: None for a new record. after: None for a deleted record.
    event: what was written; None where only the status changed, or the record was deleted.
    """

    seq: int
    before: Stored | None
    after: Stored | None
    event: Event | None

    @property
    def is_new(self) -> bool:
        return self.before is None and self.after is not None


class Cursor(Protocol):
    """One reader of the feed. It sees each change once."""

    @property
    def missed(self) -> int:
        """Changes that left the feed before this cursor read them."""
        ...

    async def read(self, limit: int) -> Sequence[RecordChange]:
        """Wait for the next change; return it with those that follow it, at most `limit`."""
        ...

    def close(self) -> None:
        """The feed keeps nothing for this cursor any more."""
        ...


class ChangeFeed(Protocol):
    def append(self, before: Stored | None, after: Stored | None, event: Event | None) -> None:
        """Called by the writer, right after the store confirmed the change. Never waits."""
        ...

    def cursor(self) -> Cursor:
        """Read all changes from now on."""
        ...
