"""zenwatch/wiring/preview.py: a hostile file costs no more than that file. cli/test_preview.py has the output."""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.payloads import a_benchmark, a_check, a_config_map, a_secret, a_secret_report, a_test, an_assessment
from zenwatch.sdk.watcher import AnyWatcher
from zenwatch.wiring.plugins import installed_watchers
from zenwatch.wiring.preview import Preview

Json = dict[str, Any]

GOOD = a_secret_report(a_secret())
RESULTS = a_config_map({"results.json": a_benchmark(a_test())})


def a_preview(*watchers: AnyWatcher) -> Preview:
    chosen = watchers or installed_watchers()
    return Preview(chosen, {watcher.name: watcher.min_severity for watcher in chosen}, "local", "zenwatch")


def previewed(*files: Any) -> Preview:
    """A preview of the files in order. Content that is no text is written as JSON."""
    preview = a_preview()
    for number, content in enumerate(files):
        raw = content if isinstance(content, str) else json.dumps(content)
        preview.add(f"file {number}", raw.encode())
    return preview


def _complaints(preview: Preview) -> list[str]:
    """The lines for stderr, at most one per object."""
    return [*preview.errors, *preview.passed_over]


# ---------------------------------------------------------------- files that are not what they seem to be

HOSTILE: Mapping[str, Any] = {
    "metadata is null": GOOD | {"metadata": None},
    "metadata is a list": GOOD | {"metadata": ["a"]},
    "metadata is a text": GOOD | {"metadata": "a"},
    "apiVersion is a number": GOOD | {"apiVersion": 1},
    "kind is a list": GOOD | {"kind": ["ExposedSecretReport"]},
    "kind is null": GOOD | {"kind": None},
    "items are an object": {"apiVersion": "v1", "kind": "List", "items": {}},
    "a key is a number": "1: 2",
    "a set": "a: !!set {b}",
    "bytes": "a: !!binary aGVsbG8=",
    "a number beyond 64 bits": "a: 123456789012345678901234567890",
    "no such time": "a: !!timestamp soon",
    "no such truth": "a: !!bool perhaps",
    "no such number": "a: !!int _",
    "an object of Python's": "a: !!python/object/apply:os.system [exit 1]",
    "deep JSON": '{"a":' * 2000 + "1" + "}" * 2000,
    "JSON that can be read but not written": '{"a":' * 500 + "1" + "}" * 500,
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_file_is_an_error_of_its_own(hostile: str) -> None:
    """One line names the file and the reason. zenwatch reads the files after it."""
    preview = previewed(HOSTILE[hostile], GOOD)

    assert [line.partition(" (")[0].partition(":")[0] for line in _complaints(preview)] == ["file 0"]
    assert (preview.objects, len(list(preview.records()))) == (1, 1)


@pytest.mark.parametrize("labels", [["app=kube-bench"], "app=kube-bench", 1, {"app": ["kube-bench"]}])
def test_labels_of_a_wrong_type_are_ignored(labels: Any) -> None:
    """The content of the ConfigMap still shows which tool it is from."""
    preview = previewed(RESULTS | {"metadata": {"name": "results", "labels": labels}})

    assert (preview.errors, preview.objects) == ([], 1)


def test_a_text_that_yaml_reserves_is_read_as_text() -> None:
    """kubectl prints = without quotes, as an operator in a policy for instance."""
    report = yaml.safe_dump(a_secret_report(a_secret(target="TARGET"))).replace("TARGET", "=")

    [record] = previewed(report).records()

    assert record["spec"]["details"]["target"] == "="


@pytest.mark.parametrize("odd", [{"a": "x" * 10_000}, "\x1b[31mred\x1b[0m", "two\nlines"])
def test_an_error_is_a_short_line_whatever_the_name_of_the_object(odd: Any) -> None:
    """It goes to a terminal: a file must not move the cursor or flood the screen."""
    preview = previewed(GOOD | {"kind": odd}, GOOD | {"metadata": {"name": odd}})

    assert len(_complaints(preview)) == 2
    assert [line for line in _complaints(preview) if len(line) > 1000 or not line.isprintable()] == []


def test_a_record_with_an_impossible_namespace_is_shown_in_zenwatchs_own() -> None:
    """The store puts such a record there."""
    finding = an_assessment([a_check(severity="HIGH")], about=("Pod", "nginx", "Not_A_Name"))

    [record] = previewed(finding).records()

    assert record["metadata"]["namespace"] == "zenwatch"


def test_a_watcher_that_fails_on_a_document_costs_only_that_document() -> None:
    """Every watcher is asked whether it claims a document."""
    watchers = {watcher.name: watcher for watcher in installed_watchers()}
    failing = replace(watchers["kube-bench"], claims=lambda document: bool(document["no such field"]))
    preview = a_preview(failing, watchers["trivy"])

    for name, content in {"results": a_benchmark(a_test()), "good": GOOD}.items():
        preview.add(name, json.dumps(content).encode())

    assert (preview.objects, [error.partition(":")[0] for error in preview.errors]) == (1, ["results"])


# ---------------------------------------------------------------- files made to exhaust memory or time


def _aliases(*, levels: int, each: int) -> str:
    """Stands for each ** levels entries, in a few lines."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * each)}]" for level in range(1, levels + 1)]
    return "\n".join(lines)


def _reports_of_aliases(entries: int) -> str:
    """Has as many reports as each report has checks."""
    check = json.dumps(a_check(severity="HIGH"))
    report = json.dumps(an_assessment(["CHECKS"])).replace('["CHECKS"]', f"[&check {check}{', *check' * entries}]")
    return f"{{apiVersion: v1, kind: List, items: [&report {report}{', *report' * entries}]}}"


def _with_little_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


EXHAUSTING = {
    "brackets": "[" * 100_000,
    "dashes": "- " * 100_000 + "a",
    "an alias of itself": "a: &a [*a]",
    "aliases of aliases": _aliases(levels=9, each=9),
    "reports that are aliases": _reports_of_aliases(2000),
}


def test_no_file_exhausts_memory_or_time(tmp_path: Path) -> None:
    """A few kilobytes never cost gigabytes or minutes, and the next file is shown."""
    for name, content in EXHAUSTING.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "good").write_text(json.dumps(GOOD))

    ended = subprocess.run(
        [sys.executable, "-m", "zenwatch", "preview", *EXHAUSTING, "good", "-o", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=_with_little_memory if sys.platform == "linux" else None,
    )

    assert (ended.returncode, len(ended.stdout.splitlines())) == (1, 1)
    assert [line.split(": ")[1] for line in ended.stderr.splitlines()[:-1]] == list(EXHAUSTING)
