"""zenwatch/cli/shared/terminal.py: nothing that a command prints moves a cursor, hides, or pretends to be a line of its own."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.fakes.api_server import FakeApiServer, body
from tests.support.terminal import ODD_CHARACTERS, Shown, Zenwatch
from zenwatch.buffer.sqlite.dead_letters import SCHEMA, insert_letter
from zenwatch.cli import doctor
from zenwatch.cli.shared.terminal import show_coloured
from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.examine import Diagnosis
from zenwatch.kube.records import object_of
from zenwatch.model.queue import DeadLetter
from zenwatch.store.crd.top import TopGroups

HOSTILE = f"a{''.join(ODD_CHARACTERS)}b\x1b]52;c;ZXZpbA==\x07\x1b[2J"
RECORDS = "/apis/zen.kube-zen.io/v1/zenagentevents"


def _is_harmless(text: str) -> bool:
    """Line breaks are ours: the tests count them."""
    return all(line.isprintable() for line in text.split("\n"))


async def _asked(zenwatch: Zenwatch, server: FakeApiServer, folder: Path, *arguments: str) -> Shown:
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config: dict[str, Any] = {"current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
    config["clusters"] = [{"name": "c", "cluster": {"server": server.url}}]
    (folder / "config").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"} | config))
    shown: Shown = await asyncio.to_thread(zenwatch, *arguments, "--url", server.url, "--kubeconfig", str(folder / "config"))
    return shown


async def test_explain_prints_a_record_of_an_earlier_version_without_its_escapes(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """Each line is one of ours, whatever the record and the process answer."""
    event = an_event(key=HOSTILE, title=HOSTILE, details={"rule": HOSTILE})
    record = object_of(event, namespace="shop", hash_of_spec="a")
    record["metadata"] |= {"resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    outcome = {"source": "trivy", "outcome": "stored", "at": "now", "name": HOSTILE, "why": HOSTILE}
    async with FakeApiServer() as server:
        server.answers("GET", "/explain", body([outcome]))
        server.answers("GET", RECORDS, body({"metadata": {"resourceVersion": "9"}, "items": [record]}))
        shown = await _asked(zenwatch, server, tmp_path, "explain", event.name)

    assert (shown.code, shown.err) == (0, "")
    assert _is_harmless(shown.out)
    assert len(shown.out.splitlines()) == 5


async def test_top_prints_groups_without_their_escapes(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """A group is named after what a tool reports."""
    groups = TopGroups()
    groups.replace(None, a_stored(cve=HOSTILE))
    async with FakeApiServer() as server:
        server.answers("GET", "/top", *([body({"by": "cve", "groups": groups.top("cve", 2), "all": 1})] * 2))
        table = await _asked(zenwatch, server, tmp_path, "top", "cve")
        as_json = await _asked(zenwatch, server, tmp_path, "top", "cve", "-o", "json")

    assert _is_harmless(table.out)
    assert len(table.out.splitlines()) == 2
    assert _is_harmless(as_json.out)
    assert json.loads(as_json.out)["groups"][0]["value"] == HOSTILE


async def test_an_answer_of_another_program_is_printed_without_its_escapes(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """Another program may listen where zenwatch is expected."""
    async with FakeApiServer() as server:
        server.answers("GET", "/top", body({"message": HOSTILE}, code=500))
        shown = await asyncio.to_thread(zenwatch, "top", "--url", server.url)

    assert _is_harmless(shown.err)


def test_dead_letters_are_printed_without_their_escapes(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """A spool may hold events of an earlier version."""
    with sqlite3.connect(tmp_path / "spool.sqlite") as database:
        database.executescript(SCHEMA)
        insert_letter(database, DeadLetter(an_event(key=HOSTILE, title=HOSTILE), f"422: {HOSTILE}", "2026-01-01T00:00:00Z"))
    database.close()

    listed = zenwatch("deadletters", "--spool-dir", str(tmp_path), "list")
    whole = zenwatch("deadletters", "--spool-dir", str(tmp_path), "show", "1")

    assert len(listed.out.splitlines()) == 2
    assert _is_harmless(listed.out)
    assert _is_harmless(whole.out)
    assert yaml.safe_load(whole.out)["number"] == 1


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_preview_prints_files_and_names_without_their_escapes(zenwatch: Zenwatch, tmp_path: Path, output: str) -> None:
    """The name of a file is text from outside, too."""
    file = tmp_path / "a\x1b[2J\u202eb.json"
    file.write_text(json.dumps({"output": HOSTILE, "priority": "Critical", "rule": HOSTILE, "output_fields": {}}))

    shown = zenwatch("preview", str(file), str(tmp_path / "missing\x1b[2J\n"), "--source", "falco", "-o", output)

    assert _is_harmless(shown.out)
    assert _is_harmless(shown.err)
    assert "1 reports with 1 findings" in shown.err


def test_settings_are_printed_without_escapes(zenwatch: Zenwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the error about a wrong one."""
    monkeypatch.setenv("SPOOL_DIR", "/tmp/\x1b[2J\u202e")  # noqa: S108
    right = zenwatch("settings")
    monkeypatch.setenv("LISTEN", "\x1b[2J\u202e")
    wrong = zenwatch("settings")

    assert (right.code, wrong.code) == (0, 2)
    assert _is_harmless(right.out)
    assert _is_harmless(wrong.err)


def test_doctor_prints_its_colours_and_no_others(capsys: pytest.CaptureFixture[str]) -> None:
    """A check may quote a report, an answer or a setting."""
    checks = [Check("cluster", "API server", Level.FAIL, f"{HOSTILE}\x1b[31mred", (HOSTILE, "\x1b[31mred"))]
    for line in doctor._as_table(Diagnosis(checks), HOSTILE, is_coloured=True):
        show_coloured(line)

    printed = capsys.readouterr().out

    assert printed.count("\x1b") == 2
    assert _is_harmless(printed.replace("\x1b[31;1m", "").replace("\x1b[0m", ""))
