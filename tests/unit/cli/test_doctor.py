"""`zenwatch doctor`: what it prints, and its exit code."""

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

# No program listens on this port: only root may open it.
NO_PROCESS = ("--url", "http://127.0.0.1:1")


async def typed(zenwatch: Zenwatch, cluster: FakeCluster, folder: Path, *arguments: str) -> Shown:
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
    config["clusters"] = [{"name": "c", "cluster": {"server": cluster.url}}]
    cluster.date = datetime.now(UTC)
    (folder / "config").write_text(yaml.safe_dump(config))
    shown: Shown = await asyncio.to_thread(zenwatch, "doctor", "--kubeconfig", str(folder / "config"), *arguments)
    return shown


async def test_each_check_is_a_line_with_its_advice_below(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """Columns are aligned, an area is named once, rules are YAML. The last lines are the verdict, the cluster and the account."""
    async with FakeCluster() as cluster:
        cluster.denied = {"watch vulnerabilityreports"}
        url, shown = cluster.url, await typed(zenwatch, cluster, tmp_path)

    lines = shown.out.splitlines()
    checks = [line for line in lines[: lines.index("")] if not line.startswith("    ")]
    heads = [line for line in lines[: lines.index("")] if line[:1].strip()]
    assert (shown.code, shown.err) == (2, "")
    assert [head.split()[0] for head in heads if not head.startswith(" ")][:3] == ["cluster", "store", "process"]
    assert {len(re.split("(?:OK|WARN|FAIL|UNKNOWN) ", line)[0]) for line in checks} == {24}
    index = next(number for number, line in enumerate(lines) if "may not watch vulnerabilityreports" in line)
    assert lines[index + 2 : index + 5] == [
        "      - apiGroups: [aquasecurity.github.io]",
        "        resources: [vulnerabilityreports]",
        "        verbs: [watch]",
    ]
    assert lines[-2].startswith("Something is broken: 1 failed, 1 to look at, ")
    assert lines[-1].startswith(f"Cluster: {url} (")
    assert lines[-1].endswith("Permissions checked: those of someone (zenwatch's own: --as-service-account zenwatch/zenwatch).")


async def test_json_output_has_the_same_checks(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """One object, for programs; it has the exit code as well."""
    async with FakeCluster() as cluster:
        shown = await typed(zenwatch, cluster, tmp_path, "-o", "json", *NO_PROCESS)

    printed = json.loads(shown.out)
    assert (shown.code, printed["exitCode"], printed["account"]) == (2, 2, "someone")
    assert next(check for check in printed["checks"] if (check["area"], check["title"]) == ("process", "answers"))["level"] == "FAIL"
    assert all(check.keys() == {"area", "title", "level", "text", "advice"} for check in printed["checks"])


async def test_the_exit_code_depends_on_whether_the_process_was_named(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """1: no process at the default address. 2: no process at the address of --url."""
    async with FakeCluster() as cluster:
        guessed, named = await typed(zenwatch, cluster, tmp_path), await typed(zenwatch, cluster, tmp_path, *NO_PROCESS)

    assert (guessed.code, named.code) == (1, 2)
    assert "no zenwatch was found at http://127.0.0.1:1: " in named.out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((), "No cluster was named"),
        (("--as-service-account", "zenwatch"), "expected NAMESPACE/NAME"),
        (("--kubeconfig", "there-is-none", "--url", "localhost"), "there-is-none"),
    ],
)
def test_a_wrong_argument_is_a_sentence(zenwatch: Zenwatch, arguments: tuple[str, ...], text: str) -> None:
    """Exit code 2, as for every command."""
    shown = zenwatch("doctor", *arguments)

    assert (shown.code, shown.out, text in shown.err) == (2, "", True)


async def test_a_wrong_address_or_file_is_a_sentence(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """Before anything is asked."""
    async with FakeCluster() as cluster:
        address = await typed(zenwatch, cluster, tmp_path, "--url", "localhost:8080")
        file = await typed(zenwatch, cluster, tmp_path, "--url", "https://localhost:8080", "--ca-file", str(tmp_path / "none"))

    assert (address.code, "--url is 'localhost:8080'" in address.err) == (2, True)
    assert (file.code, "--ca-file is " in file.err) == (2, True)


def test_colours_are_for_terminals() -> None:
    """The level is coloured; the columns stay aligned."""
    diagnosis = Diagnosis([Check("store", "CRD", Level.FAIL, "is not served", ("apply it",)), Check("store", "b", Level.OK, "well")])

    plain = list(doctor._as_table(diagnosis, "here", is_coloured=False))
    coloured = list(doctor._as_table(diagnosis, "here", is_coloured=True))

    assert plain[:3] == ["store  CRD  FAIL    is not served", "    apply it", "       b    OK      well"]
    assert coloured[0] == "store  CRD  \033[31;1mFAIL   \033[0m is not served"
    assert plain[-1] == "Cluster: here. Permissions checked: none."


def test_help_explains_the_exit_codes(zenwatch: Zenwatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And states that nothing is changed."""
    with pytest.raises(SystemExit):
        zenwatch("doctor", "--help")
    shown = capsys.readouterr().out

    assert "exit codes: 0 all well; 1 something needs attention" in shown
    assert "Nothing is changed." in shown


async def test_a_variable_that_has_no_effect_is_a_warning(zenwatch: Zenwatch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All would look well although a setting is not in force."""
    monkeypatch.setenv("TRIVY_MINSEVERITY", "LOW")
    async with FakeCluster() as cluster:
        shown = await typed(zenwatch, cluster, tmp_path, "-o", "json", *NO_PROCESS)

    [check] = [check for check in json.loads(shown.out)["checks"] if check["title"] == "variables"]
    assert (check["area"], check["level"]) == ("process", "WARN")
    assert "did you mean TRIVY_MIN_SEVERITY?" in check["advice"][0]
