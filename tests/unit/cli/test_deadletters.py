"""`zenwatch deadletters`: list, show, retry and drop."""

import sqlite3
from pathlib import Path

import pytest
import yaml

from tests.support.builders.findings import an_event
from tests.support.terminal import Zenwatch
from zenwatch.buffer.sqlite.dead_letters import SCHEMA, insert_letter
from zenwatch.model.queue import DeadLetter


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With two dead letters in it."""
    with sqlite3.connect(tmp_path / "spool.sqlite") as database:
        database.executescript(SCHEMA)
        for key in ("a", "b" * 100):
            insert_letter(database, DeadLetter(an_event(source="falco", key=key), "422: title is too long", "2026-01-01T00:00:00Z"))
    database.close()
    monkeypatch.setenv("SPOOL_DIR", str(tmp_path))
    return tmp_path


def test_list_prints_a_line_for_each(zenwatch: Zenwatch, spool: Path) -> None:
    """With the number that the other actions take."""
    shown = zenwatch("deadletters", "list")

    lines = shown.out.splitlines()
    assert (shown.code, len(lines)) == (0, 3)
    assert lines[1].split()[:3] == ["1", "2026-01-01T00:00:00Z", "falco"]
    assert lines[1].endswith("422: title is too long")
    assert "b" * 59 + "…" in lines[2]


def test_show_prints_the_whole_event(zenwatch: Zenwatch, spool: Path) -> None:
    """As YAML: the event as it would have been stored, and the reason of the refusal."""
    shown = yaml.safe_load(zenwatch("deadletters", "show", "2").out)

    assert (shown["number"], shown["reason"], shown["event"]["key"]) == (2, "422: title is too long", "b" * 100)


def test_retry_puts_an_event_back_and_drop_removes_one(zenwatch: Zenwatch, spool: Path) -> None:
    """Then no dead letter is left, and the first event is in the spool again."""
    retried, dropped = zenwatch("deadletters", "retry", "1"), zenwatch("deadletters", "drop", "2")
    left = zenwatch("deadletters", "list")
    with sqlite3.connect(spool / "spool.sqlite") as database:
        events = database.execute("SELECT source FROM events").fetchall()
    database.close()

    assert (retried.code, dropped.code, left.out) == (0, 0, "No dead letters.\n")
    assert events == [("local/falco",)]


def test_an_unknown_number_is_an_error_and_the_others_are_done(zenwatch: Zenwatch, spool: Path) -> None:
    """Exit code 1."""
    shown = zenwatch("deadletters", "drop", "7", "1")

    assert (shown.code, shown.err) == (1, "zenwatch: there is no dead letter 7\n")
    assert "1: trivy-vuln-" in shown.out


def test_without_a_spool_the_error_names_the_setting(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """A folder that is no spool is an error too."""
    unnamed, wrong = zenwatch("deadletters", "list"), zenwatch("deadletters", "--spool-dir", str(tmp_path), "list")

    assert (unnamed.code, wrong.code) == (2, 2)
    assert "SPOOL_DIR" in unnamed.err
    assert "there is no spool.sqlite in it" in wrong.err
