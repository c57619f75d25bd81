"""zenwatch/sources/pull/recognise.py: which watcher each object in a file is for. test_preview.py has the hostile files."""

import json
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.payloads import a_benchmark, a_config_map, a_policy_report, a_secret, a_secret_report, a_test
from zenwatch.sources.pull.recognise import NoWatcherReadsIt, Recognised, Recogniser, Unrecognised
from zenwatch.wiring.plugins import installed_watchers

WATCHERS = {watcher.name: watcher for watcher in installed_watchers()}
REPORT = a_secret_report(a_secret())
RESULTS = a_config_map({"results.json": json.dumps(a_benchmark(a_test()))})
ALERT = json.loads((ROOT / "examples" / "pushed" / "falco-alert.json").read_text())
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}


def objects_in(content: Any, *sources: str, is_forced: bool = False) -> list[Recognised | Unrecognised]:
    """content: a text, or JSON."""
    watchers = [watcher for name, watcher in WATCHERS.items() if not sources or name in sources]
    raw = content if isinstance(content, str) else json.dumps(content)
    return list(Recogniser(watchers, is_forced=is_forced).objects_in("file", raw.encode()))


def a_list(*items: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def labels(found: list[Recognised | Unrecognised]) -> list[tuple[str, str]]:
    """The label and the watcher of each object."""
    return [(part.label, part.watcher.name if isinstance(part, Recognised) else "") for part in found]


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (REPORT, "trivy"),
        (a_policy_report(), "kyverno"),
        (RESULTS, "kube-bench"),
        (a_benchmark(a_test()), "kube-bench"),
        (f"log line\n{json.dumps(a_benchmark(a_test()))}", "kube-bench"),
        (ALERT, "falco"),
    ],
)
def test_an_object_is_for_the_watcher_of_its_tool(content: Any, source: str) -> None:
    """A report by its kind, a ConfigMap by its label, a tool's output and a posted event by its form."""
    assert labels(objects_in(content)) == [("file", source)]


def test_a_config_map_without_its_label_is_recognised_by_its_content() -> None:
    """The label may be missing in a file that was never applied."""
    assert labels(objects_in(RESULTS | {"metadata": {"name": "results"}})) == [("file", "kube-bench")]


def test_a_list_has_an_object_for_each_entry() -> None:
    """The label counts the entries. A typed List names the kind once."""
    entry = {key: value for key, value in REPORT.items() if key not in ("apiVersion", "kind")}
    typed = {"apiVersion": REPORT["apiVersion"], "kind": f"{REPORT['kind']}List", "items": [entry, entry]}

    assert labels(objects_in(typed)) == [("file[0]", "trivy"), ("file[1]", "trivy")]
    assert labels(objects_in({"apiVersion": "v1", "kind": "List", "items": [REPORT, ALERT]})) == [
        ("file[0]", "trivy"),
        ("file[1]", "falco"),
    ]


def test_an_object_of_no_tool_is_not_an_error_of_the_file() -> None:
    """Reports and namespaces often stand in the same file."""
    found = objects_in(a_list(NAMESPACE, REPORT))

    assert labels(found) == [("file[0]", ""), ("file[1]", "trivy")]
    assert isinstance(found[0], Unrecognised)
    assert isinstance(found[0].error, NoWatcherReadsIt)


def test_a_named_watcher_gets_every_object() -> None:
    """Whatever version the object has."""
    old = a_policy_report(apiVersion="wgpolicyk8s.io/v1alpha1")

    assert labels(objects_in(old, "kyverno")) == [("file", "")]
    assert labels(objects_in(old, "kyverno", is_forced=True)) == [("file", "kyverno")]


def test_lines_of_text_are_events_of_a_named_watcher_that_receives_text() -> None:
    """Falco prints an alert per line. Without the name, text may be anything."""
    lines = "10:00:00.1: Notice Shell: opened\n\n10:00:01.1: Notice File: read"

    assert labels(objects_in(lines, "falco", is_forced=True)) == [("file[0]", "falco"), ("file[1]", "falco")]
    assert labels(objects_in(lines)) == [("file", "")]


def test_the_objects_before_an_unreadable_part_count() -> None:
    """kubectl may have been interrupted."""
    found = objects_in(f"{json.dumps(REPORT)}\n---\na: [")

    assert labels(found) == [("file", "trivy"), ("file", "")]
