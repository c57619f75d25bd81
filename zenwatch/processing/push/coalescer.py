"""Bring the sightings of one record together: one entry per record, however often it was seen since its last write."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from zenwatch.contract import Inbox
from zenwatch.model.event import Event
from zenwatch.model.queue import Intent, QueuedEvent
from zenwatch.processing.event.merge import follow_up, list_detail
from zenwatch.processing.push.schedule import WriteSchedule
from zenwatch.processing.rollup import added, is_rollup, rolled_up, tallied, tally_of


@dataclass(slots=True)
class PendingRecord:
    """The sightings of one record that are not settled.

    event: of the last sighting, with the list `recent` of all. sightings, message_ids: of those that no write carries yet.
    held_message_id: the one event that still takes memory in the inbox; None: none does.
    unanswered: a write that got no answer. It is retried before any new write of this record, because it may have succeeded.
    gathered: how many events of an intent are here, while others are still to come. in_flight: a write is on its way.
    is_refused: the store refuses that write for the time being, and the writer tries again.
    """

    event: Event
    last_seen: str
    held_message_id: int | None
    sightings: int = 0
    message_ids: list[int] = field(default_factory=list)
    unanswered: Intent | None = None
    gathered: int = 0
    in_flight: bool = False
    is_refused: bool = False

    @property
    def is_busy(self) -> bool:
        """The record is scheduled once what is in its way is over."""
        return self.in_flight or self.gathered > 0 or self.unanswered is not None

    def describe(self) -> str:
        """A sentence for `zenwatch explain`."""
        if self.unanswered:
            return "Its write failed and is made again."
        if self.is_refused:
            return "Its namespace takes no writes for the time being (zenwatch doctor says why); it is tried again."
        return "It is being written." if self.in_flight else "It waits for its turn to be written."


class Coalescer:
    """counts_repeats: one more event of a record is one more sighting. recent: the list in the details that goes on."""

    def __init__(self, inbox: Inbox, schedule: WriteSchedule, *, counts_repeats: bool, recent: str) -> None:
        self._inbox = inbox
        self._schedule = schedule
        self._counts_repeats = counts_repeats
        self._recent = recent
        self._pending: dict[str, PendingRecord] = {}

    def __getitem__(self, name: str) -> PendingRecord:
        return self._pending[name]

    def needs_write(self, name: str) -> bool:
        """False: a write is on its way, or nothing is left. A rollup that grows while it is due is scheduled a second time."""
        pending = self._pending.get(name)
        return pending is not None and not pending.in_flight

    def find(self, query: str) -> Iterator[PendingRecord]:
        """query: a key or the name of a record."""
        return (pending for name, pending in self._pending.items() if query in (name, pending.event.key))

    def counts(self, name: str) -> bool:
        """Whether one more event of that name is one more sighting; otherwise it is the same event, sent again."""
        return self._counts_repeats or is_rollup(name)

    def add(self, queued: QueuedEvent) -> bool:
        """False: the event was sent again while the first is on its way. It changes nothing, and the caller settles it."""
        pending = self._pending.get(queued.event.name)
        if pending is None:
            self._pending[queued.event.name] = pending = PendingRecord(queued.event, queued.event.detected_at, queued.message_id)
            self._merge(pending, queued)
            return True
        is_counted = self.counts(queued.event.name)
        if is_counted:
            self._merge(pending, queued)
        else:
            self._inbox.settle([queued.message_id])
        # One more sighting needs no memory of its own.
        self._inbox.release([queued.message_id])
        if self._inbox.is_pressed:
            self._schedule.flush()
        return is_counted

    def roll_up(self, name: str) -> int:
        """Count all sightings of this record in the record of its resource instead. Return how many these are."""
        pending = self._pending.pop(name)
        event = tallied(rolled_up(pending.event), {pending.event.severity: pending.sightings})
        rollup = self._pending.get(event.name)
        if rollup is None:
            self._pending[event.name] = rollup = PendingRecord(event, pending.last_seen, pending.held_message_id)
        else:
            self._release(pending)
        rollup.event = added(event, tally_of(rollup.event.details)) if rollup.sightings else event
        rollup.last_seen = max(rollup.last_seen, pending.last_seen)
        rollup.sightings += pending.sightings
        rollup.message_ids += pending.message_ids
        if not rollup.is_busy:
            self._schedule.ask(event.name)
        return pending.sightings

    def finish(self, name: str) -> int:
        """The record needs no write any more: settle and forget its events. Return how many sightings these are."""
        pending = self._pending[name]
        unanswered = pending.unanswered
        self._inbox.settle([*pending.message_ids, *(unanswered.carries if unanswered else ())])
        self.drop(name)
        return pending.sightings + (unanswered.sightings if unanswered else 0)

    def drop(self, name: str) -> None:
        self._release(self._pending.pop(name))

    def wait(self, name: str) -> None:
        """The write of the record is refused, maybe for long: it must not keep others out of the inbox."""
        self._pending[name].is_refused = True
        self._release(self._pending[name])

    def _release(self, pending: PendingRecord) -> None:
        if pending.held_message_id is not None:
            self._inbox.release([pending.held_message_id])
            pending.held_message_id = None

    def _merge(self, pending: PendingRecord, queued: QueuedEvent) -> None:
        if queued.intent is not None:
            self._gather(pending, queued.intent)
            return
        event = queued.event
        if pending.sightings:
            earlier = list_detail(pending.event, self._recent)
            first_at = min(event.detected_at, pending.event.detected_at)
            event = replace(follow_up(event, recent=self._recent, earlier=earlier), detected_at=first_at)
        pending.event = event
        pending.last_seen = max(queued.event.detected_at, pending.last_seen)
        is_first = not pending.sightings
        pending.sightings += queued.sightings
        pending.message_ids.append(queued.message_id)
        if is_first and not pending.is_busy:
            self._schedule.ask(event.name)

    def _gather(self, pending: PendingRecord, intent: Intent) -> None:
        """Before a crash one write was to carry this event and others. Once all of them are here, that write is retried as it was."""
        pending.gathered += 1
        if pending.gathered == len(intent.carries):
            pending.unanswered = intent
            pending.gathered = 0
            self._schedule.ask(intent.event.name)
