"""`zenwatch doctor`: what it prints, and with which exit code."""

import asyncio
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from tests.support.doctor_cluster import FakeCluster
from tests.support.terminal import Shown, Zenwatch
from zenwatch.cli import doctor
from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.examine import Diagnosis

# Nobody listens on this port: it cannot be had by a program of a user.
NOBODY = ("--url", "http://127.0.0.1:1")


async def typed(zenwatch: Zenwatch, cluster: FakeCluster, folder: Path, *arguments: str) -> Shown:
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
    config["clusters"] = [{"name": "c", "cluster": {"server": cluster.url}}]
    cluster.date = datetime.now(UTC)
    (folder / "config").write_text(yaml.safe_dump(config))
    shown: Shown = await asyncio.to_thread(zenwatch, "doctor", "--kubeconfig", str(folder / "config"), *arguments)
    return shown


async def test_each_check_is_a_line_and_its_advice_stands_below(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """Columns in line, an area named once, rules as YAML; the last lines say how it is, where, and whose permissions were checked."""
    async with FakeCluster() as cluster:
        cluster.denied = {"watch vulnerabilityreports"}
        url, shown = cluster.url, await typed(zenwatch, cluster, tmp_path)

    lines = shown.out.splitlines()
    checks = [line for line in lines[: lines.index("")] if not line.startswith("    ")]
    heads = [line for line in lines[: lines.index("")] if line[:1].strip()]
    assert (shown.code, shown.err) == (2, "")
    assert [head.split()[0] for head in heads if not head.startswith(" ")][:3] == ["cluster", "store", "process"]
    assert {len(re.split("(?:OK|WARN|FAIL|UNKNOWN) ", line)[0]) for line in checks} == {24}
    place = next(number for number, line in enumerate(lines) if "may not watch vulnerabilityreports" in line)
    assert lines[place + 2 : place + 5] == [
        "      - apiGroups: [aquasecurity.github.io]",
        "        resources: [vulnerabilityreports]",
        "        verbs: [watch]",
    ]
    assert lines[-2].startswith("Something is broken: 1 failed, 1 to look at, ")
    assert lines[-1].startswith(f"Cluster: {url} (")
    assert lines[-1].endswith("Permissions checked: those of someone (zenwatch's own: --as-service-account zenwatch/zenwatch).")


async def test_as_json_it_says_the_same(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """One object, for programs; the exit code stands in it as well."""
    async with FakeCluster() as cluster:
        shown = await typed(zenwatch, cluster, tmp_path, "-o", "json", *NOBODY)

    said = json.loads(shown.out)
    assert (shown.code, said["exitCode"], said["account"]) == (2, 2, "someone")
    assert next(check for check in said["checks"] if (check["area"], check["title"]) == ("process", "answers"))["level"] == "FAIL"
    assert all(check.keys() == {"area", "title", "level", "text", "advice"} for check in said["checks"])


async def test_the_exit_code_tells_whether_somebody_has_to_look(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """1: no process was found where it was guessed to be; 2: nor where it was said to be."""
    async with FakeCluster() as cluster:
        guessed, named = await typed(zenwatch, cluster, tmp_path), await typed(zenwatch, cluster, tmp_path, *NOBODY)

    assert (guessed.code, named.code) == (1, 2)
    assert "no zenwatch was found at http://127.0.0.1:1: " in named.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "No cluster was named"),
        (("--as-service-account", "zenwatch"), "expected NAMESPACE/NAME"),
        (("--kubeconfig", "there-is-none", "--url", "localhost"), "there-is-none"),
    ],
)
def test_a_wrong_argument_is_a_sentence(zenwatch: Zenwatch, arguments: tuple[str, ...], said: str) -> None:
    """Exit code 2, as of every command."""
    shown = zenwatch("doctor", *arguments)

    assert (shown.code, shown.out, said in shown.err) == (2, "", True)


async def test_an_address_or_a_file_that_cannot_be_used_is_a_sentence(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """Before anything is asked."""
    async with FakeCluster() as cluster:
        address = await typed(zenwatch, cluster, tmp_path, "--url", "localhost:8080")
        file = await typed(zenwatch, cluster, tmp_path, "--url", "https://localhost:8080", "--ca-file", str(tmp_path / "none"))

    assert (address.code, "--url is 'localhost:8080'" in address.err) == (2, True)
    assert (file.code, "--ca-file is " in file.err) == (2, True)


def test_colours_are_for_terminals() -> None:
    """The word is coloured, and stays as wide as it is."""
    diagnosis = Diagnosis([Check("store", "CRD", Level.FAIL, "is not served", ("apply it",)), Check("store", "b", Level.OK, "well")])

    plain = list(doctor._as_table(diagnosis, "here", is_coloured=False))
    coloured = list(doctor._as_table(diagnosis, "here", is_coloured=True))

    assert plain[:3] == ["store  CRD  FAIL    is not served", "    apply it", "       b    OK      well"]
    assert coloured[0] == "store  CRD  \033[31;1mFAIL   \033[0m is not served"
    assert plain[-1] == "Cluster: here. Permissions checked: none."


def test_help_says_what_the_exit_codes_mean(zenwatch: Zenwatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And that nothing is changed."""
    with pytest.raises(SystemExit):
        zenwatch("doctor", "--help")
    shown = capsys.readouterr().out

    assert "exit codes: 0 all well; 1 something needs attention" in shown
    assert "Nothing is changed." in shown
