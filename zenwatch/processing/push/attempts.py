"""What is known of one pushed record between its sightings and its write.

In: sightings, and what the record said before.  Out: the write that they become.
Owns: nothing; the stream keeps one Pending per record.
Stops: nothing to stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from zenwatch.model.event import Event
from zenwatch.model.queue import Intent
from zenwatch.model.record import Status, Stored, status_of_sighting


@dataclass(frozen=True, slots=True)
class PriorSightings:
    """What a record says of earlier sightings. recent: the list that goes on; last_seen: RFC 3339; tally: of a rollup, by severity."""

    recent: Sequence[str] = ()
    last_seen: str = ""
    tally: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteAttempt:
    """A write, and the sightings and tickets of what it carries.

    is_new: the record was not there before them. stored: what was there when it was made. seen_at: the last of the sightings.
    is_news: they came so late that the record counts as reopened, although it is open.
    """

    event: Event
    hash: str
    count: int
    sightings: int
    is_new: bool
    message_ids: tuple[int, ...]
    seen_at: datetime | None = None
    stored: Stored | None = None
    starts_new_occurrence: bool = False

    @property
    def status(self) -> Status:
        return status_of_sighting(self.stored, count=self.count, seen_at=self.seen_at, starts_new_occurrence=self.starts_new_occurrence)

    @property
    def intent(self) -> Intent:
        return Intent(self.event, self.hash, self.count, self.sightings, self.is_new, self.message_ids)

    def is_stored_as(self, stored: Stored | None) -> bool:
        """What is stored says what this write said: only the answer was lost. Its count holds, and is not added again."""
        return stored is not None and stored.spec_hash == self.hash


@dataclass(slots=True)
class PendingRecord:
    """One record's sightings that are not settled.

    event: of the last one, with `recent` of all. sightings, tickets: of those that no write carried yet. held: the one ticket that
    still takes room in the inbox. failed: the write that has to be made before another one is: as long as nobody answered it, nobody
    knows whether it was. gathered: how many events of an intent are here, of which others are still to come. in_flight: a write is.
    """

    event: Event
    last_seen: str
    held: int
    sightings: int = 0
    message_ids: list[int] = field(default_factory=list)
    failed: WriteAttempt | None = None
    gathered: int = 0
    in_flight: bool = False

    @property
    def is_busy(self) -> bool:
        """Its turn comes when what is in the way of it is over."""
        return self.in_flight or self.gathered > 0 or self.failed is not None


def explain_wait(pending: PendingRecord) -> str:
    """A sentence for whoever asks after it."""
    if pending.failed:
        return "Its write failed and is made again."
    return "It is being written." if pending.in_flight else "It waits for its turn to be written."
