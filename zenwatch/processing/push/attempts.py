"""Compute the next write of a pushed record: from its sightings, and from what the record shows of earlier ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cachetools import LRUCache

from zenwatch.contract import Store
from zenwatch.errors import NotFound
from zenwatch.model.event import Event
from zenwatch.model.queue import Intent
from zenwatch.model.record import Stored, spec_hash, status_of_sighting
from zenwatch.model.timestamps import format_rfc3339, parse_rfc3339
from zenwatch.model.write import Upsert
from zenwatch.processing.event.merge import follow_up, list_detail
from zenwatch.processing.push.coalescer import PendingRecord
from zenwatch.processing.rollup import added, tally_of

# What was last written of so many records is kept, so that the next sighting need not read it. About 2 KiB each.
RECORDS_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class PriorSightings:
    """What a record shows of earlier sightings. recent: the list that goes on; last_seen: RFC 3339; tally: of a rollup, by severity."""

    recent: Sequence[str] = ()
    last_seen: str = ""
    tally: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WriteAttempt:
    """An intent, and the request that carries it out. seen_at: the last of its sightings."""

    intent: Intent
    request: Upsert
    seen_at: datetime

    @property
    def name(self) -> str:
        return self.intent.event.name


class AttemptBuilder:
    """recent: the list in the details that goes on. window_secs: a sighting that is later than this after the one before reopens the
    record; None: an open record is never reopened.
    """

    def __init__(self, store: Store, *, recent: str, window_secs: float | None) -> None:
        self._store = store
        self._recent = recent
        self._window_secs = window_secs
        self._prior: LRUCache[str, PriorSightings] = LRUCache(maxsize=RECORDS_REMEMBERED)

    async def prior_of(self, stored: Stored | None) -> PriorSightings | None:
        """None: the record is gone. Raises what Store.read does."""
        if stored is None:
            return PriorSightings()
        if (prior := self._prior.get(stored.name)) is not None:
            return prior
        try:
            record = await self._store.read(stored)
        except NotFound:
            return None
        spec, status = record["spec"], record.get("status") or {}
        details = spec.get("details") or {}
        entries = details.get(self._recent)
        recent = [entry for entry in entries if isinstance(entry, str)] if isinstance(entries, list) else []
        # A person may have written a time in any form that the API server accepts.
        last_seen = parse_rfc3339(status.get("lastSeen")) or parse_rfc3339(spec["detectedAt"])
        return PriorSightings(recent, format_rfc3339(last_seen) if last_seen else "", tally_of(details))

    def remember(self, attempt: WriteAttempt) -> None:
        """The attempt was stored: it is what the record shows of earlier sightings from now on."""
        event = attempt.intent.event
        seen_at = format_rfc3339(attempt.seen_at)
        self._prior[attempt.name] = PriorSightings(list_detail(event, self._recent), seen_at, tally_of(event.details))

    def forget(self, name: str) -> None:
        self._prior.pop(name, None)

    def next_attempt(self, pending: PendingRecord, stored: Stored | None, prior: PriorSightings) -> WriteAttempt:
        """Take over the sightings of the record, or the unanswered write: it is retried with the same content."""
        if (unanswered := pending.unanswered) is not None:
            latest = unanswered.event
            event = follow_up(latest, recent=self._recent, earlier=prior.recent)
            sightings, carries = unanswered.sightings, unanswered.carries
        else:
            latest = pending.event
            event = added(follow_up(latest, recent=self._recent, earlier=prior.recent), prior.tally)
            sightings, carries = pending.sightings, tuple(pending.message_ids)
            pending.sightings, pending.message_ids = 0, []
        pending.unanswered, pending.in_flight = None, True
        if unanswered is not None and unanswered.is_stored_as(stored):
            count, is_new = unanswered.count, unanswered.is_new
        else:
            count, is_new = sightings + (stored.count if stored is not None else 0), stored is None
        intent = Intent(event, spec_hash(event), count, sightings, is_new, carries)
        return self._attempt(intent, pending, stored, prior, reopens=stored is not None and self._is_late(latest, prior))

    def _attempt(
        self, intent: Intent, pending: PendingRecord, stored: Stored | None, prior: PriorSightings, *, reopens: bool
    ) -> WriteAttempt:
        seen_at = datetime.fromisoformat(max(pending.last_seen, prior.last_seen))
        status = status_of_sighting(stored, count=intent.count, seen_at=seen_at, starts_new_occurrence=reopens)
        return WriteAttempt(intent, Upsert(intent.event, intent.spec_hash, status, stored, is_exact=True), seen_at)

    def _is_late(self, event: Event, prior: PriorSightings) -> bool:
        """Whether the previous sighting is older than repeats may be."""
        if self._window_secs is None or not prior.last_seen:
            return False
        return (datetime.fromisoformat(event.detected_at) - datetime.fromisoformat(prior.last_seen)).total_seconds() > self._window_secs
