"""Pushed events on disk until they are stored: what was acknowledged outlives the process.

In: events from processing/push; message ids of those that are settled; intents; dead letters.  Out: the events, again after a restart.
Owns: spool.sqlite in SPOOL_DIR, at most `max_bytes` of events in it, and in memory `window_events` events per source.
Stops: close() commits what is known to be settled; what is not settled is delivered again at the next start.

One transaction for all that arrived while the one before was being synced (decisions/0008). Only a transaction that takes events is synced.
After a crash of the machine some settled events may therefore be delivered again; zenwatch then finds that they are stored.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic
from typing import Any

import orjson
import structlog

from zenwatch.buffer.sqlite.database import ROW_BYTES, Batch, Database, Offer
from zenwatch.buffer.sqlite.dead_letters import SIGHTINGS
from zenwatch.contract import Group
from zenwatch.errors import Closed, first_line
from zenwatch.log import OncePerMessage
from zenwatch.metrics import BUFFER_EVENTS, SPOOL_BYTES, SPOOL_CAPACITY
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Fill, Intent, QueuedEvent
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor

log = structlog.get_logger(component="spool")

# In memory at a time, per source: 3 MiB of usual events.
WINDOW_EVENTS = 1000
READ_AT_ONCE = 250
GATHER_SECS = 0.002
# How long settled events may wait for a transaction to go along with, and how soon a retried dead letter is noticed.
IDLE_SECS = 0.2
LOOK_AGAIN_SECS = 0.5


class Spool:
    """inbox() gives one inbox for each origin."""

    group = Group.ALWAYS

    def __init__(self, folder: str, supervisor: Supervisor, *, max_bytes: int, window_events: int = WINDOW_EVENTS) -> None:
        """ConfigError: the folder cannot be used, or another process uses it."""
        self._supervisor = supervisor
        self.window_events = window_events
        self.database = Database(folder, max_bytes=max_bytes)
        # A volume that is smaller than SPOOL_MAX_BYTES takes less.
        self.max_bytes = self.database.capacity_bytes
        if self.max_bytes < max_bytes:
            log.warning("spool_volume_small", setting="SPOOL_MAX_BYTES", reason=f"its volume takes {self.max_bytes} bytes of events")
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spool")
        self._used_bytes: int = self.database.used_at_start_bytes
        self._seen_changes = self.database.changes_of_others()
        self._batch = Batch()
        # While a transaction goes on. Nothing ends it in between: it would not be known what was written.
        self._committing = asyncio.Lock()
        self._is_refusing = False
        self._news = asyncio.Event()
        self._inboxes: dict[str, SpoolInbox] = {}
        self._logged = OncePerMessage()
        self._sizes: dict[int, int] = {}
        SPOOL_CAPACITY.set(self.max_bytes)
        self._count(0)

    def inbox(self, origin: Origin) -> "SpoolInbox":
        queue = str(origin)
        waiting = self.database.waiting(queue)
        if waiting:
            log.info("spool_replayed", cluster_id=origin.cluster_id, source=origin.source, count=waiting)
        self._inboxes[queue] = inbox = SpoolInbox(self, origin, self.database.intents(queue), has_more=bool(waiting))
        return inbox

    @property
    def fill(self) -> Fill:
        """Full, too, while the disk takes nothing."""
        return Fill(self._used_bytes, self._used_bytes if self._is_refusing else self.max_bytes, "bytes")

    async def put(self, letter: DeadLetter) -> None:
        """contract.DeadLetters."""
        log.warning("dead_letter", source=letter.event.source, name=letter.event.name, key=letter.event.key, reason=letter.reason)
        self._batch.letters.append(letter)
        self._news.set()

    async def bring_back(self, target: str, most: int) -> int:
        try:
            left: int = await self._in_thread(lambda: self.database.return_letters(target, most))
        except sqlite3.Error as exc:
            # It is asked again: they stay where they are.
            log.warning("letters_not_returned", error=first_line(exc))
            return 1
        for inbox in self._inboxes.values():
            inbox.look_again()
        return left

    async def start(self) -> None:
        self._supervisor.start("spool", self.run)

    async def stop(self) -> None:
        async with self._committing:
            await self._supervisor.stop("spool")
        await self._commit()
        if not self._batch.is_empty:
            log.error("spool_not_written", reason="settled events will be delivered again", count=len(self._batch.settled))

    async def run(self) -> None:
        """One transaction after the other, for all that came in the meantime."""
        looked_at = monotonic()
        while True:
            await self._wait_for_work()
            if self._batch.is_urgent:
                # A crowd comes one by one: a transaction of twenty costs little more than one of two.
                await asyncio.sleep(GATHER_SECS)
            await self._commit()
            if monotonic() - looked_at > LOOK_AGAIN_SECS:
                await self._look_at_disk()
                looked_at = monotonic()

    async def close(self) -> None:
        """Stop, and let go of the folder: the spool cannot start again."""
        await self.stop()
        await self._in_thread(self.database.close)
        self._thread.shutdown()

    # ------------------------------------------------------------ for the inboxes

    async def add(self, queue: str, events: Sequence[Event]) -> list[int]:
        """Return the message ids once the events are synced; none where the spool is full or the disk refuses."""
        added: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        offer = Offer(queue, events, [orjson.dumps(event) for event in events], added)
        if self._used_bytes and self._used_bytes + offer.size_bytes > self.max_bytes:
            return []
        # Counted before it is written, so that many at the same time do not pass where one fits.
        self._count(offer.size_bytes)
        self._batch.offers.append(offer)
        self._news.set()
        return await added

    async def read(self, queue: str, after: int, most: int) -> list[tuple[int, bytes, bool]]:
        """Message id, event, and whether this process has not met it before."""
        rows: list[tuple[int, bytes]] = await self._in_thread(lambda: self.database.read(queue, after, most))
        read = [(message_id, body, message_id not in self._sizes) for message_id, body in rows]
        sizes = {message_id: len(body) + ROW_BYTES for message_id, body in rows}
        # What was there at the start was counted then; what another process put back was not.
        self._count(
            sum(sizes[message_id] for message_id, _, is_new_here in read if is_new_here and message_id > self.database.last_at_start)
        )
        self._sizes |= sizes
        return read

    def settle(self, message_ids: Sequence[int], intents: Sequence[str]) -> None:
        self._batch.settled.extend(message_ids)
        self._batch.intents_gone.extend(intents)
        self._news.set()

    async def intend(self, queue: str, intents: Sequence[Intent]) -> None:
        announced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._batch.intents.append((queue, intents, announced))
        self._news.set()
        await announced

    # ------------------------------------------------------------ one transaction

    async def _wait_for_work(self) -> None:
        if not self._batch.is_urgent:
            self._news.clear()
            try:
                async with asyncio.timeout(IDLE_SECS):
                    while not self._batch.is_urgent:
                        await self._news.wait()
                        self._news.clear()
            except TimeoutError:
                return

    async def _commit(self) -> None:
        async with self._committing:
            batch, self._batch = self._batch, Batch()
            if batch.is_empty:
                return
            rest = Batch()
            try:
                message_ids = await self._in_thread(partial(self.database.commit, batch))
            except sqlite3.Error as exc:
                # The disk is full, or worse. What is on disk stays, and events are refused.
                if self._logged.is_new(sentence := first_line(exc)):
                    log.error("spool_not_written", error=sentence)  # noqa: TRY400  a sentence for a person
                self._is_refusing = True
                self._answer(batch.offers, [[] for _ in batch.offers])
                rest = await self._in_thread(partial(self.database.commit_without_offers, batch))
                self._batch.put_back(rest)
                # The next attempt is not made at once.
                await asyncio.sleep(IDLE_SECS)
            else:
                self._logged.clear()
                self._answer(batch.offers, message_ids)
            written = batch.settled[: len(batch.settled) - len(rest.settled)]
            self._count(-sum(self._sizes.pop(message_id, 0) for message_id in written))
            for _, _, announced in batch.intents:
                # Without a disk a write is made all the same: at worst it is counted twice after a crash, but it is not lost.
                if not announced.done():
                    announced.set_result(None)

    def _answer(self, offers: Sequence[Offer], message_ids: Sequence[list[int]]) -> None:
        for offer, given in zip(offers, message_ids, strict=True):
            if given:
                self._is_refusing = False
                self._sizes.update(zip(given, (len(body) + ROW_BYTES for body in offer.bodies), strict=True))
                self._inboxes[offer.queue].arrived(given, offer.events)
            else:
                self._count(-offer.size_bytes)
            if not offer.added.done():
                offer.added.set_result(given)

    async def _look_at_disk(self) -> None:
        """`zenwatch deadletters retry` puts events back from another process, and a volume may have space again."""
        changes = await self._in_thread(self.database.changes_of_others)
        if changes != self._seen_changes:
            self._seen_changes = changes
            for inbox in self._inboxes.values():
                inbox.look_again()
        if self._is_refusing:
            self._is_refusing = await self._in_thread(partial(self.database.space_after, Batch())) < 0

    def _count(self, added_bytes: int) -> None:
        self._used_bytes += added_bytes
        SPOOL_BYTES.set(self._used_bytes)

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)


class SpoolInbox:
    """contract.Inbox of one source. Closed, it gives nothing more out: what is left is for the next start."""

    is_durable = True

    def __init__(self, spool: Spool, origin: Origin, intents: Sequence[Intent], *, has_more: bool) -> None:
        self._spool = spool
        self._queue = str(origin)
        self._intents = {message_id: intent for intent in intents for message_id in intent.carries}
        # Message id → name of the record whose intent carries it, as long as that is not settled.
        self._intended = {message_id: intent.event.name for intent in intents for message_id in intent.carries}
        self._queued: deque[QueuedEvent] = deque()
        self._last = 0
        self._has_more = has_more
        self._unreleased = 0
        self._closed = False
        self._news = asyncio.Event()
        self._on_taken: Callable[[int], None] = lambda _events: None
        self._gauge = BUFFER_EVENTS.labels(*origin)

    @property
    def fill(self) -> Fill:
        return self._spool.fill

    @property
    def is_pressed(self) -> bool:
        return 2 * self._unreleased >= self._spool.window_events

    def call_when_taken(self, call: Callable[[int], None]) -> None:
        self._on_taken = call

    async def offer(self, events: Sequence[Event]) -> bool:
        return not self._closed and bool(await self._spool.add(self._queue, events))

    async def receive(self) -> QueuedEvent:
        while not self._closed:
            if self._queued:
                return self._queued.popleft()
            if self._has_more and self._free > 0:
                await self._read()
            else:
                self._news.clear()
                await self._news.wait()
        raise Closed("the inbox is closed")

    def release(self, message_ids: Sequence[int]) -> None:
        self._count(-len(message_ids))
        self._news.set()

    async def intend(self, intents: Sequence[Intent]) -> None:
        for intent in intents:
            self._intended |= dict.fromkeys(intent.carries, intent.event.name)
        await self._spool.intend(self._queue, intents)

    def settle(self, message_ids: Sequence[int]) -> None:
        names = {name for message_id in message_ids if (name := self._intended.pop(message_id, ""))}
        for message_id in message_ids:
            self._intents.pop(message_id, None)
        self._spool.settle(message_ids, sorted(names))

    def close(self) -> None:
        self._closed = True
        self._news.set()

    # ------------------------------------------------------------ from disk

    def arrived(self, message_ids: Sequence[int], events: Sequence[Event]) -> None:
        """They are on disk. Where nothing waits there before them, they need not be read from it."""
        self._on_taken(len(message_ids))
        if self._has_more or len(message_ids) > self._free:
            self._has_more = True
        else:
            self._queued.extend(QueuedEvent(event, message_id) for message_id, event in zip(message_ids, events, strict=True))
            self._last = message_ids[-1]
            self._count(len(message_ids))
        self._news.set()

    def look_again(self) -> None:
        self._has_more = True
        self._news.set()

    @property
    def _free(self) -> int:
        return self._spool.window_events - self._unreleased

    async def _read(self) -> None:
        most = min(self._free, READ_AT_ONCE)
        rows = await self._spool.read(self._queue, self._last, most)
        # What arrives meanwhile is left on disk by arrived() as long as this is set.
        self._has_more = len(rows) == most
        for message_id, body, is_new_here in rows:
            fields = orjson.loads(body)
            sightings = fields.pop(SIGHTINGS, 1)
            event, intent = Event.from_json(fields), self._intents.get(message_id)
            self._queued.append(QueuedEvent(event, message_id, intent, is_new_here=is_new_here, sightings=sightings))
            self._last = message_id
        self._count(len(rows))

    def _count(self, events: int) -> None:
        self._unreleased += events
        self._gauge.set(self._unreleased)
