"""Commands on any terminal: encodings that cannot show a text, terminals without colours, a start that fails."""

import asyncio
import os
import pty
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import orjson
import pytest
import yaml

from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.doctor_cluster import FakeCluster

NOBODY = "http://127.0.0.1:9"
JAPANESE, ARGUMENT_OF_NO_ENCODING = "日本語 naïve", os.fsdecode(b"caf\xff")


def typed(*arguments: str, **settings: str) -> tuple[int, bytes, str]:
    """The exit code, what was printed, and what stands on stderr. The process has these settings and no others."""
    command = [sys.executable, "-m", "zenwatch", *arguments]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "VIRTUAL_ENV")}
    ended = subprocess.run(command, env=kept | settings, capture_output=True, check=False)
    return ended.returncode, ended.stdout, ended.stderr.decode(errors="replace")


def a_kubeconfig(folder: Path, server: str) -> str:
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    parts = {"current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
    (folder / "config").write_text(yaml.safe_dump(parts | {"clusters": [{"name": "c", "cluster": {"server": server}}]}))
    return str(folder / "config")


@pytest.fixture
def reports(tmp_path: Path) -> str:
    file = tmp_path / "reports.json"
    file.write_bytes(orjson.dumps(a_report([a_vulnerability(resource=JAPANESE)])))
    return str(file)


# ---------------------------------------------------------------- encodings


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8", "latin-1:strict"])
@pytest.mark.parametrize("output", ["table", "yaml"])
def test_what_a_terminal_cannot_show_becomes_a_question_mark(encoding: str, output: str, reports: str) -> None:
    """Findings hold text of every language, and a command that ends in a traceback shows none of them."""
    code, out, err = typed("preview", reports, "-o", output, PYTHONIOENCODING=encoding)

    assert (code, "Traceback" in err) == (0, False)
    shown = {"utf-8": JAPANESE, "ascii": "??? na?ve"}.get(encoding, "??? naïve")
    assert shown in out.decode(encoding.partition(":")[0])


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("settings",),
        ("watchers",),
        ("crds",),
        ("run", "--help"),
        ("explain", JAPANESE),
        ("explain", ARGUMENT_OF_NO_ENCODING),
        ("preview", ARGUMENT_OF_NO_ENCODING),
        ("deadletters", "--spool-dir", JAPANESE, "list"),
        ("top", "--url", f"http://{JAPANESE}"),
        ("doctor", "--kubeconfig", JAPANESE),
        ("run", "--kubeconfig", ARGUMENT_OF_NO_ENCODING),
    ],
    ids=ascii,
)
def test_no_command_ends_in_a_traceback(arguments: tuple[str, ...], encoding: str) -> None:
    """Neither for what it prints nor for what was typed."""
    _, _, err = typed(*arguments, PYTHONIOENCODING=encoding, LISTEN="127.0.0.1:9")

    assert "Traceback" not in err


async def test_doctor_prints_whatever_the_cluster_answers(tmp_path: Path) -> None:
    """Messages of an API server, too, may be in any language."""
    async with FakeCluster() as cluster:
        cluster.answers["/api/v1/namespaces/zenwatch"] = (500, {"message": JAPANESE})
        kubeconfig = a_kubeconfig(tmp_path, cluster.url)
        _, out, err = await asyncio.to_thread(typed, "doctor", "--kubeconfig", kubeconfig, PYTHONIOENCODING="ascii")

    assert err == ""
    assert b"Permissions checked" in out


# ---------------------------------------------------------------- colours


def _on_a_terminal(*arguments: str, **settings: str) -> str:
    """What stands on stderr, which is a terminal."""
    terminal, of_process = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "VIRTUAL_ENV")}
    command = [sys.executable, "-m", "zenwatch", *arguments]
    subprocess.run(command, env=kept | settings, stdout=subprocess.DEVNULL, stderr=of_process, check=False)
    os.close(of_process)
    printed = b""
    # A terminal whose other side is closed answers with an error in place of an end.
    with suppress(OSError):
        while piece := os.read(terminal, 65536):
            printed += piece
    os.close(terminal)
    return printed.decode()


@pytest.mark.parametrize(
    ("settings", "is_coloured"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "dumb", "LOG_FORMAT": "text"}, False),
    ],
    ids=str,
)
def test_colours_are_for_terminals_that_show_them(settings: dict[str, str], tmp_path: Path, *, is_coloured: bool) -> None:
    """https://no-color.org: any value but an empty one."""
    printed = _on_a_terminal("run", "--kubeconfig", a_kubeconfig(tmp_path, NOBODY), SPOOL_DIR="/dev/null/spool", **settings)

    assert "cluster_chosen" in printed
    assert ("\x1b[" in printed) is is_coloured


# ---------------------------------------------------------------- a start that fails


@pytest.mark.parametrize(
    ("setting", "value"),
    [("SPOOL_DIR", "/dev/null/spool"), ("LISTEN", "192.0.2.1:8080"), ("TLS_CERT_FILE", "/nowhere"), ("AUDIT_RULES_FILE", "/nowhere")],
)
def test_a_start_that_fails_prints_one_sentence(setting: str, value: str, tmp_path: Path) -> None:
    """What was opened until then is closed: nothing complains of it."""
    code, _, err = typed("run", "--kubeconfig", a_kubeconfig(tmp_path, NOBODY), **({"LISTEN": "127.0.0.1:0"} | {setting: value}))

    sentences = [line for line in err.splitlines() if line.startswith("zenwatch: ")]
    assert (code, len(sentences)) == (2, 1)
    assert "library_complained" not in err


def test_a_variable_that_has_no_effect_is_one_warning_at_the_start(tmp_path: Path) -> None:
    """With the setting that was probably meant."""
    kubeconfig = a_kubeconfig(tmp_path, NOBODY)
    _, _, err = typed("run", "--kubeconfig", kubeconfig, SPOOL_DIR="/dev/null/spool", TRIVY_MINSEVERITY="LOW", TRIVY_SEVERITY="LOW")

    warned = [line for line in map(orjson.loads, err.splitlines()[:-1]) if line["event"] == "setting_unknown"]
    assert [(line["setting"], line["level"]) for line in warned] == [("TRIVY_MINSEVERITY", "warning")]
    assert "did you mean TRIVY_MIN_SEVERITY?" in warned[0]["reason"]
