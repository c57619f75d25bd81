"""The spool's database: one thread works on it, in transactions.

In: batches of what has to be remembered and forgotten.  Out: message ids; events and intents that are still there.
Owns: spool.sqlite and the lock on its folder.
Stops: close() lets go of both.
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
from typing import Any

import orjson

from zenwatch.buffer.sqlite.dead_letters import FILE, SCHEMA, insert_letter, return_letters
from zenwatch.errors import ConfigError, first_line
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Intent

# What a row needs beside the event itself. Measured: 40 to 60 bytes.
ROW_BYTES = 64


@dataclass(frozen=True, slots=True)
class Offer:
    """added: the message ids, or none of them where the batch is refused."""

    queue: str
    events: Sequence[Event]
    bodies: Sequence[bytes]
    added: asyncio.Future[list[int]]


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


_INSERT = "INSERT INTO events (source, body) SELECT ?, value FROM json_each(?)"
_INTEND = (
    "INSERT OR REPLACE INTO intents (name, source, body) "
    "SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)"
)


class Database:
    """Every method blocks; all but the first ones are called in the spool's thread."""

    def __init__(self, folder: str) -> None:
        """ConfigError: the folder cannot be used, or another process uses it."""
        self._folder = Path(folder)
        self._is_synced: bool | None = None
        try:
            # What lies there is what an attack looked like: for nobody else to read. SQLite's other files are made like the first one.
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._locked()
            os.close(os.open(self._folder / FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self.connection = sqlite3.connect(self._folder / FILE, isolation_level=None, check_same_thread=False, timeout=10.0)
            self.connection.execute("PRAGMA journal_mode=WAL")
            self.connection.executescript(SCHEMA)
            # Whether their targets take writes now is found out by trying.
            return_letters(self.connection)
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
        database = self.connection
        database.execute("BEGIN IMMEDIATE")
        try:
            left = return_letters(database, target=target, most=most)
            database.execute("COMMIT")
        finally:
            if database.in_transaction:
                database.execute("ROLLBACK")
        return left

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database, so that the log can begin anew. It needs no space, and may not help."""
        with suppress(sqlite3.Error):
            self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        self.connection.close()
        os.close(self._lock)

    def commit(self, batch: Batch) -> list[list[int]]:
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
