"""Dead letters: events that the store refuses for good, kept where a person can look at them.

In: dead letters from the writer.  Out: rows for `zenwatch deadletters`; an event that is to be tried again goes back into the spool.
Owns: the table dead_letters of spool.sqlite, at most MOST_DEAD_LETTERS rows and an eighth of the database; the oldest go first.
Stops: nothing to stop; every change is a transaction.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import orjson

from zenwatch.errors import BadInput, ConfigError, first_line
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter
from zenwatch.model.refs import Origin

FILE = "spool.sqlite"
# Beside the fields of an event that came back: how many it stands for.
SIGHTINGS = "sightings"
MOST_DEAD_LETTERS = 10_000
# seq is never used twice (AUTOINCREMENT): a message id that was settled late must not settle another event.
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS events_by_source ON events (source, seq);
CREATE TABLE IF NOT EXISTS intents (name TEXT PRIMARY KEY, source TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, body BLOB NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class DeadLetterEntry:
    """id: by which a person names it."""

    id: int
    letter: DeadLetter


class DeadLetterQueue:
    """The dead letters of a spool folder, also while zenwatch runs on it. ConfigError: there is no spool in it."""

    def __init__(self, folder: str) -> None:
        self._file = Path(folder) / FILE
        if not self._file.exists():
            raise ConfigError(f"SPOOL_DIR is {folder!r}: there is no {FILE} in it.")

    def letters(self) -> list[DeadLetterEntry]:
        """The oldest first."""
        with self._open() as database:
            return [_kept(*row) for row in database.execute("SELECT id, body FROM dead_letters ORDER BY id")]

    def letter(self, entry_id: int) -> DeadLetterEntry:
        """BadInput: there is none of that number."""
        with self._open() as database:
            return self._find(database, entry_id)

    def retry(self, entry_id: int) -> DeadLetterEntry:
        """Back into the spool: the process that runs on it tries again within a second, or the next one at its start."""
        with self._open() as database:
            kept = self._find(database, entry_id)
            _return(database, kept)
            return kept

    def drop(self, entry_id: int) -> DeadLetterEntry:
        with self._open() as database:
            kept = self._find(database, entry_id)
            database.execute("DELETE FROM dead_letters WHERE id = ?", (entry_id,))
            return kept

    def _find(self, database: sqlite3.Connection, entry_id: int) -> DeadLetterEntry:
        row = database.execute("SELECT id, body FROM dead_letters WHERE id = ?", (entry_id,)).fetchone()
        if row is None:
            raise BadInput(f"there is no dead letter {entry_id}")
        return _kept(*row)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction."""
        try:
            database = sqlite3.connect(self._file, isolation_level="IMMEDIATE", timeout=10.0)
            try:
                with database:
                    yield database
            finally:
                database.close()
        except sqlite3.Error as exc:
            raise ConfigError(f"SPOOL_DIR is {str(self._file.parent)!r}: {first_line(exc)}.") from exc


def insert_letter(database: sqlite3.Connection, letter: DeadLetter) -> None:
    database.execute("INSERT INTO dead_letters (body) VALUES (?)", (orjson.dumps(letter),))


def drop_oldest_letters(database: sqlite3.Connection, *, most_bytes: int) -> None:
    """A source that is refused every day must not fill the disk."""
    database.execute(
        "DELETE FROM dead_letters WHERE id <= (SELECT max(id) FROM dead_letters) - ? OR id IN (SELECT id FROM "
        "(SELECT id, sum(length(body)) OVER (ORDER BY id DESC) AS newest_bytes FROM dead_letters) WHERE newest_bytes > ?)",
        (MOST_DEAD_LETTERS, most_bytes),
    )


def return_letters(database: sqlite3.Connection, *, target: str = "", most: int = -1) -> int:
    """Put the events of this target back among those to store, the oldest first. Empty: of all targets, but not those that are refused for
    good. most: -1 for all. Return how many are left.
    """
    found = database.execute(
        "SELECT id, body FROM dead_letters WHERE coalesce(json_extract(CAST(body AS TEXT), '$.target'), '') != '' "
        "AND (? = '' OR json_extract(CAST(body AS TEXT), '$.target') = ?) ORDER BY id",
        (target, target),
    ).fetchall()
    returned = found if most < 0 else found[:most]
    for entry_id, body in returned:
        _return(database, _kept(entry_id, body))
    return len(found) - len(returned)


def _return(database: sqlite3.Connection, kept: DeadLetterEntry) -> None:
    event, sightings = kept.letter.event, kept.letter.sightings
    body = orjson.dumps(event) if sightings == 1 else orjson.dumps(asdict(event) | {SIGHTINGS: sightings})
    database.execute("INSERT INTO events (source, body) VALUES (?, ?)", (str(Origin(event.cluster_id, event.source)), body))
    database.execute("DELETE FROM dead_letters WHERE id = ?", (kept.id,))


def _kept(entry_id: int, body: bytes) -> DeadLetterEntry:
    fields = orjson.loads(body)
    rest = (fields.get("target", ""), fields.get(SIGHTINGS, 1))
    return DeadLetterEntry(entry_id, DeadLetter(Event.from_json(fields["event"]), fields["reason"], fields["refused_at"], *rest))
