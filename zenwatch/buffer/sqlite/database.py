"""The spool's database: one thread works on it, in transactions.

In: batches of what has to be remembered and forgotten.  Out: message ids; events and intents that are still there.
Owns: spool.sqlite and the lock on its folder.
Stops: close() lets go of both.

On a full volume events are refused, and what is settled is written all the same: new events leave space to checkpoint the log (volume.py).
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from zenwatch.buffer.sqlite.dead_letters import FILE, SCHEMA, drop_oldest_letters, insert_letter, return_letters
from zenwatch.buffer.sqlite.volume import Volume
from zenwatch.errors import ConfigError, first_line
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Intent

# What a row needs beside the event itself. Measured: 40 to 60 bytes.
ROW_BYTES = 64
PAGE_BYTES = 4096
# Guesses, on the safe side: the pages of indexes and lists that a transaction changes; the pages that an intent or a dead letter needs, or
# the deletion of an event from a page of its own.
EXTRA_PAGES, PAGES_PER_ENTRY = 16, 4
# With so much space left, the volume is not full within so many seconds; if it is, a transaction fails and nothing else.
PLENTY_BYTES, PLENTY_SECS = 128 * 1024**2, 1.0


@dataclass(frozen=True, slots=True)
class Offer:
    """added: the message ids, or none of them where the batch is refused."""

    queue: str
    events: Sequence[Event]
    bodies: Sequence[bytes]
    added: asyncio.Future[list[int]]

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.bodies)) + ROW_BYTES * len(self.bodies)


class VolumeFull(sqlite3.OperationalError):
    """There is no space for a batch; nothing of it was written."""


@dataclass(slots=True)
class Batch:
    """What the next transaction will do."""

    offers: list[Offer] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    intents: list[tuple[str, Sequence[Intent], asyncio.Future[None]]] = field(default_factory=list)
    intents_gone: list[str] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)

    @property
    def is_urgent(self) -> bool:
        """Somebody waits for it."""
        return bool(self.offers or self.intents or self.letters)

    @property
    def is_empty(self) -> bool:
        return not (self.is_urgent or self.settled or self.intents_gone)

    def put_back(self, rest: "Batch") -> None:
        """What could not be written, except events, comes first next time."""
        self.settled[:0], self.intents_gone[:0], self.letters[:0] = rest.settled, rest.intents_gone, rest.letters


_INSERT = "INSERT INTO events (source, body) SELECT ?, value FROM json_each(?)"
_INTEND = (
    "INSERT OR REPLACE INTO intents (name, source, body) "
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)"
)


class Database:
    """Every method blocks; all but the first ones are called in the spool's thread."""

    def __init__(self, folder: str, *, max_bytes: int) -> None:
        """max_bytes: of events. ConfigError: the folder cannot be used, or another process uses it."""
        self._folder = Path(folder)
        self._is_synced: bool | None = None
        self._plenty_until_secs = float("-inf")
        try:
            # What lies there is what an attack looked like: for nobody else to read. SQLite's other files are made like the first one.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._locked()
            self._volume = Volume(self._folder, max_bytes=max_bytes)
            self.capacity_bytes = min(max_bytes, self._volume.events_bytes)
            os.close(os.open(self._folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.connection = sqlite3.connect(self._folder / FILE, isolation_level=None, check_same_thread=False, timeout=10.0)
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.execute(f"PRAGMA wal_autocheckpoint={max(1, self._volume.log_bytes // PAGE_BYTES)}")
            self.connection.execute(f"PRAGMA journal_size_limit={self._volume.log_bytes}")
            self.connection.execute(f"PRAGMA max_page_count={self._volume.database_bytes // PAGE_BYTES}")
            self.connection.executescript(SCHEMA)
            self._checkpoint("PASSIVE")
            self._volume.take_reserve(leaves_bytes=self._volume.log_bytes)
            # Whether their targets take writes now is found out by trying. On a full volume they stay where they are.
            with suppress(sqlite3.Error):
                self.return_letters("", -1)
            [(self.used_at_start_bytes,)] = self.connection.execute("SELECT coalesce(sum(length(body) + ?), 0) FROM events", (ROW_BYTES,))
            [(self.last_at_start,)] = self.connection.execute("SELECT coalesce(max(seq), 0) FROM events")
        except (OSError, sqlite3.Error) as exc:
            raise ConfigError(f"SPOOL_DIR is {folder!r}: {first_line(exc)}.") from exc

    def intents(self, queue: str) -> list[Intent]:
        return [_intent_of(body) for (body,) in self.connection.execute("SELECT body FROM intents WHERE source = ?", (queue,))]

    def waiting(self, queue: str) -> int:
        [(events,)] = self.connection.execute("SELECT count(*) FROM events WHERE source = ?", (queue,))
        return int(events)

    def read(self, queue: str, after: int, most: int) -> list[tuple[int, bytes]]:
        query = "SELECT seq, body FROM events WHERE source = ? AND seq > ? ORDER BY seq LIMIT ?"
        return self.connection.execute(query, (queue, after, most)).fetchall()

    def changes_of_others(self) -> int:
        """Another number after another process changed something."""
        [(changes,)] = self.connection.execute("PRAGMA data_version")
        return int(changes)

    def return_letters(self, target: str, most: int) -> int:
        """Return how many are left. sqlite3.Error: nothing was changed."""
        database = self.connection
        database.execute("BEGIN IMMEDIATE")
        try:
            left = return_letters(database, target=target, most=most)
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        return left

    def close(self) -> None:
        self.connection.close()
        # The log's space is free now. The next start may find a full volume, and needs a few pages to open the database.
        self._volume.take_reserve(leaves_bytes=0)
        os.close(self._lock)

    def space_after(self, batch: Batch) -> int:
        """How many bytes are left after the batch: first the log grows by it, later the database. Negative: there is no space for it."""
        [(pages,)], [(free_pages,)] = (self.connection.execute(f"PRAGMA {name}") for name in ("page_count", "freelist_count"))
        event_pages = EXTRA_PAGES + 2 * sum(offer.size_bytes for offer in batch.offers) // PAGE_BYTES
        new_pages = event_pages + PAGES_PER_ENTRY * (len(batch.letters) + sum(len(intents) for _, intents, _ in batch.intents))
        log_pages = new_pages + min(PAGES_PER_ENTRY * len(batch.settled), pages)
        # Also by what the log holds already.
        growth_bytes = (pages + max(0, new_pages - free_pages)) * PAGE_BYTES - (self._folder / FILE).stat().st_size
        on_volume = self._volume.spare_bytes() - log_pages * PAGE_BYTES - max(0, growth_bytes)
        in_database = self._volume.events_bytes - (pages - free_pages + event_pages) * PAGE_BYTES
        return int(min(on_volume, in_database) if batch.offers else on_volume)

    def commit(self, batch: Batch) -> list[list[int]]:
        """The message ids of each offer. sqlite3.Error: nothing was written."""
        # Not before every transaction: each of these calls has to get the interpreter back, too.
        if monotonic() > self._plenty_until_secs:
            self._volume.take_reserve(leaves_bytes=self._volume.log_bytes)
            left = self.space_after(batch)
            if left < 0:
                raise VolumeFull("the volume is full")
            if left > PLENTY_BYTES:
                self._plenty_until_secs = monotonic() + PLENTY_SECS
        return self._transaction(batch)

    def commit_without_offers(self, batch: Batch) -> Batch:
        """After a failure, write all but the events, in parts that need little space. Return what could not be written."""
        at_once = max(1, self._volume.reserve_bytes // (PAGES_PER_ENTRY * PAGE_BYTES))
        rest = Batch(settled=list(batch.settled), intents_gone=batch.intents_gone, intents=batch.intents, letters=batch.letters)
        with suppress(sqlite3.Error):
            while rest.settled:
                self._write_with_reserve(Batch(settled=rest.settled[:at_once]))
                del rest.settled[:at_once]
            # Also where nothing is left: a commit whose sync failed must not come back from the log after a crash.
            self._write_with_reserve(rest)
            rest = Batch()
            self._volume.take_reserve(leaves_bytes=self._volume.log_bytes)
        return rest

    def _write_with_reserve(self, batch: Batch) -> None:
        try:
            self._transaction(batch)
        except sqlite3.Error:
            self._volume.give_up_reserve()
            self._checkpoint("TRUNCATE")
            self._transaction(batch)
        self._checkpoint("TRUNCATE")

    def _checkpoint(self, how: str) -> None:
        """Move the log into the database, so that the log can begin anew. It may not help."""
        with suppress(sqlite3.Error):
            self.connection.execute(f"PRAGMA wal_checkpoint({how})")

    def _transaction(self, batch: Batch) -> list[list[int]]:
        """Few and large statements: for each one this thread has to get the interpreter back from a busy loop."""
        database = self.connection
        is_synced = bool(batch.offers or batch.letters)
        if is_synced is not self._is_synced:
            database.execute(f"PRAGMA synchronous={'FULL' if is_synced else 'NORMAL'}")
            self._is_synced = is_synced
        database.execute("BEGIN IMMEDIATE")
        try:
            # Before the intents: one that follows another for the same record comes after the events of the first are settled.
            if batch.settled:
                database.execute("DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))", (_json(batch.settled),))
            if batch.intents_gone:
                database.execute("DELETE FROM intents WHERE name IN (SELECT value FROM json_each(?))", (_json(batch.intents_gone),))
            if batch.intents:
                rows = [[intent.event.name, queue, _json(intent)] for queue, intents, _ in batch.intents for intent in intents]
                database.execute(_INTEND, (_json(rows),))
            for letter in batch.letters:
                insert_letter(database, letter)
            if batch.letters:
                drop_oldest_letters(database, most_bytes=self._volume.database_bytes // 8)
            message_ids = self._insert(batch.offers)
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        return message_ids

    def _insert(self, offers: Sequence[Offer]) -> list[list[int]]:
        """All of a source in one statement. Numbers are given in order, and nobody else writes inside this transaction."""
        given: dict[str, Iterator[int]] = {}
        for queue in {offer.queue for offer in offers}:
            bodies = [body for offer in offers if offer.queue == queue for body in offer.bodies]
            array = b"[%s]" % b",".join(bodies)
            last = self.connection.execute(_INSERT, (queue, array.decode())).lastrowid or 0
            given[queue] = iter(range(last - len(bodies) + 1, last + 1))
        return [list(islice(given[offer.queue], len(offer.bodies))) for offer in offers]

    def _locked(self) -> int:
        lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            os.close(lock)
            raise ConfigError(
                f"SPOOL_DIR is {str(self._folder)!r}: another zenwatch uses it. Each process needs a folder of its own."
            ) from exc
        return lock


def _intent_of(body: bytes) -> Intent:
    fields = orjson.loads(body)
    return Intent(**fields | {"event": Event.from_json(fields["event"]), "carries": tuple(fields["carries"])})


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
