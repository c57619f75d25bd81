"""`zenwatch preview`: the records that report files would become."""

import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.support.fakes.crd import violations
from tests.support.payloads import (
    SAMPLES,
    a_benchmark,
    a_check,
    a_config_map,
    a_failed_check,
    a_policy_report,
    a_result,
    a_scan,
    a_secret,
    a_secret_report,
    a_test,
    an_assessment,
)
from tests.support.terminal import Shown, Zenwatch
from zenwatch.wiring.plugins import installed_watchers

Json = dict[str, Any]
Written = Callable[..., str]

SECRETS = a_secret_report(a_secret())
BENCHMARK, SCAN = a_benchmark(a_test()), [a_scan(a_failed_check())]
OF_SECRETS, OF_TEST, OF_CHECK = "trivy default/Pod/nginx/github-pat", "kube-bench 4.1.1", "checkov CKV_K8S_22/Deployment.shop.catalog"
BARE_SECRETS = {field: value for field, value in SECRETS.items() if field not in ("apiVersion", "kind")}
LOG = "2026-01-01T10:00:00Z [INFO] scanning: {ok}\n\n"


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """A file with this in it; what is neither text nor bytes as JSON. Its path."""

    def write(content: Any, name: str = "reports.txt") -> str:
        raw = content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode()
        (tmp_path / name).write_bytes(raw)
        return str(tmp_path / name)

    return write


def records(shown: Shown) -> list[Json]:
    return [json.loads(line) for line in shown.out.splitlines()]


def found(shown: Shown) -> list[str]:
    """source and key of every record that -o json printed."""
    return [f"{record['spec']['source']} {record['spec']['key']}" for record in records(shown)]


def documents(*objects: Mapping[str, Any]) -> str:
    return yaml.safe_dump_all(objects)


def labelled(app: str, document: Any) -> Json:
    return a_config_map({"results.json": document}, metadata={"labels": {"app": app}})


# ---------------------------------------------------------------- what it reads

FORMS: Mapping[str, tuple[Any, list[str]]] = {
    "one object": (SECRETS, [OF_SECRETS]),
    "a List": ({"apiVersion": "v1", "kind": "List", "items": [SECRETS, labelled("checkov", SCAN)]}, [OF_SECRETS, OF_CHECK]),
    "a List of one kind that its items do not repeat": (
        {"apiVersion": SECRETS["apiVersion"], "kind": "ExposedSecretReportList", "items": [BARE_SECRETS]},
        [OF_SECRETS],
    ),
    "YAML": (documents(SECRETS), [OF_SECRETS]),
    "YAML documents": (f"---\n---\n{documents(SECRETS, labelled('kube-bench', BENCHMARK))}---\n", [OF_SECRETS, OF_TEST]),
    "YAML with a List in it": (documents({"apiVersion": "v1", "kind": "List", "items": [SECRETS]}), [OF_SECRETS]),
    "a ConfigMap": (labelled("kube-bench", BENCHMARK), [OF_TEST]),
    "a ConfigMap without its label": (a_config_map({"results.json": SCAN}), [OF_CHECK]),
    "what kube-bench prints": (BENCHMARK, [OF_TEST]),
    "what Checkov prints": (SCAN, [OF_CHECK]),
    "with text around it": (f"{LOG}{json.dumps(BENCHMARK, indent=2)}\ndone: yes\n", [OF_TEST]),
    "below a line that looks like YAML": (f"Results:\n{json.dumps(SCAN)}\n", [OF_CHECK]),
    "with a byte order mark": (b"\xef\xbb\xbf" + orjson.dumps(SECRETS), [OF_SECRETS]),
    "with a byte order mark, and an emoji": (b"\xef\xbb\xbf" + json.dumps(SECRETS | {"x": "😀"}).encode(), [OF_SECRETS]),
    "as PowerShell writes it": (json.dumps(SECRETS).encode("utf-16"), [OF_SECRETS]),
    "as PowerShell writes it, with text around it": (f"{LOG}{json.dumps(BENCHMARK)}".encode("utf-16"), [OF_TEST]),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_input_is_recognised(form: str, zenwatch: Zenwatch, written: Written) -> None:
    """The content decides which watcher reads it."""
    content, expected = FORMS[form]

    shown = zenwatch("preview", written(content), "-o", "json")

    assert sorted(found(shown)) == sorted(expected)
    assert shown.code == 0


def test_a_dash_is_standard_input(zenwatch: Zenwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl get -o json | zenwatch preview -"""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(orjson.dumps(SECRETS))))

    shown = zenwatch("preview", "-", "-o", "json")

    assert (shown.code, found(shown)) == (0, [OF_SECRETS])


def test_a_time_in_yaml_stays_text(zenwatch: Zenwatch, written: Written) -> None:
    """YAML would parse it as a time, which is no JSON. Watchers expect the text that the API server sends."""
    report = documents(SECRETS).replace("'2026-01-01T10:00:00Z'", "2026-01-01T10:00:00Z")
    assert "updateTimestamp: 2026" in report

    [record] = records(zenwatch("preview", written(report), "-o", "json"))

    assert record["spec"]["detectedAt"] == "2026-01-01T10:00:00Z"


def test_two_reports_of_one_finding_become_one_record(zenwatch: Zenwatch, written: Written) -> None:
    """As in the cluster: the lists are united, and count says how many reports hold it."""
    files = [written(a_secret_report(a_secret(target=target)), f"{target}.json") for target in ("a", "b")]

    [record] = records(zenwatch("preview", *files, "-o", "json"))

    assert record["status"]["count"] == 2
    assert record["spec"]["details"]["targets"] == ["a", "b"]


# ---------------------------------------------------------------- which watcher reads it


def test_with_source_a_watcher_reads_what_it_would_not_recognise(zenwatch: Zenwatch, written: Written) -> None:
    """An old version of a kind, or another tool's label."""
    file = written(documents(a_policy_report(a_result(), apiVersion="wgpolicyk8s.io/v1alpha1"), labelled("other", BENCHMARK)))
    for source in ("kyverno", "kube-bench"):
        assert [line.split()[0] for line in found(zenwatch("preview", "--source", source, file, "-o", "json"))] == [source]

    unforced = zenwatch("preview", written(a_policy_report(a_result(), apiVersion="wgpolicyk8s.io/v1alpha1")))
    assert unforced.code == 1
    assert "no watcher reads PolicyReport of wgpolicyk8s.io/v1alpha1: name one with --source" in unforced.err


def test_an_unknown_source_is_an_error_that_lists_the_sources(zenwatch: Zenwatch, written: Written) -> None:
    """A typing error, and the values that are accepted."""
    shown = zenwatch("preview", "--source", "trivi", written(SECRETS))

    assert (shown.code, shown.out) == (2, "")
    assert "'trivi'" in shown.err
    assert all(watcher.name in shown.err for watcher in installed_watchers())


def test_thresholds_apply_as_in_the_cluster(zenwatch: Zenwatch, written: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    """Filtered findings are counted. A wrong setting is an error before any file is read."""
    file = written(an_assessment([a_check(severity="LOW"), a_check(checkID="KSV001", severity="HIGH")]))
    default = zenwatch("preview", file, "-o", "json")
    monkeypatch.setenv("TRIVY_MIN_SEVERITY", "low")
    lower = zenwatch("preview", file, "-o", "json")
    monkeypatch.setenv("TRIVY_MIN_SEVERITY", "lowest")
    wrong = zenwatch("preview", file)

    assert (len(found(default)), len(found(lower)), wrong.code) == (1, 2, 2)
    assert "1 reports with 2 findings, 1 below the threshold: 1 records" in default.err
    assert "1 reports with 2 findings: 2 records" in lower.err
    assert "TRIVY_MIN_SEVERITY is 'lowest'" in wrong.err


# ---------------------------------------------------------------- what it prints


@pytest.fixture
def samples(written: Written) -> str:
    return written(
        {"apiVersion": "v1", "kind": "List", "items": [sample for group in SAMPLES.values() for sample in group]}, "samples.json"
    )


def test_as_json_each_line_is_a_record_that_the_api_server_would_take(zenwatch: Zenwatch, samples: str) -> None:
    """The worst first, so that `head` shows what matters."""
    shown = records(zenwatch("preview", samples, "-o", "json"))

    assert {record["spec"]["source"] for record in shown} == SAMPLES.keys()
    assert [violations(record["spec"]) for record in shown] == [[]] * len(shown)
    assert {(record["apiVersion"], record["kind"], record["status"]["phase"]) for record in shown} == {
        ("zen.kube-zen.io/v1", "ZenAgentEvent", "Open")
    }
    scores = [record["spec"]["score"] for record in shown]
    assert scores == sorted(scores, reverse=True)


def test_yaml_output_has_the_same_records(zenwatch: Zenwatch, written: Written) -> None:
    """Also texts that look like a time, a number or a boolean."""
    odd = [a_secret(ruleID=rule) for rule in ("2026-01-01", "1e3", "yes", "a: b", "=")]
    file = written(a_secret_report(*odd))

    shown = list(yaml.safe_load_all(zenwatch("preview", file, "-o", "yaml").out))

    assert shown == records(zenwatch("preview", file, "-o", "json"))
    assert len(shown) == len(odd)


def test_the_table_has_a_line_for_each_record(zenwatch: Zenwatch, samples: str) -> None:
    """Columns are aligned with their heads; everything else goes to stderr."""
    as_json = records(zenwatch("preview", samples, "-o", "json"))

    head, *lines = zenwatch("preview", samples).out.splitlines()

    assert head.split() == ["NAMESPACE", "NAME", "SEVERITY", "SCORE", "SOURCE", "RESOURCE", "TITLE", "COUNT"]
    assert [line.split()[1:5] for line in lines] == [
        [record["metadata"]["name"], *(str(record["spec"][field]) for field in ("severity", "score", "source"))] for record in as_json
    ]
    title = head.index("TITLE")
    assert [line[title:].startswith(record["spec"]["title"]) for line, record in zip(lines, as_json, strict=True)] == [True] * len(lines)


def test_without_a_record_nothing_is_printed(zenwatch: Zenwatch, written: Written) -> None:
    """Not even the table's head; and a report without findings is no failure."""
    for output in ("table", "json", "yaml"):
        shown = zenwatch("preview", written(a_secret_report()), "-o", output)
        assert (shown.code, shown.out, shown.err) == (0, "", "1 reports with 0 findings: 0 records\n")


def test_many_files_show_progress(zenwatch: Zenwatch, written: Written) -> None:
    """On stderr. A few files do not."""
    file = written(SECRETS)

    assert "files read" not in zenwatch("preview", *[file] * 3).err
    assert "20 of 21 files read" in zenwatch("preview", *[file] * 21).err


# ---------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "neither JSON"),
        ("hello", "neither JSON"),
        (bytes(range(256)), "neither JSON"),
        ("null", "no apiVersion and kind"),
        ('{"apiVersion": "v1"', "neither JSON"),
        ({"some": "JSON"}, "no apiVersion and kind"),
        (labelled("kube-bench", "hello"), "results.json"),
        (SECRETS | {"report": None}, "report is missing or not an object"),
    ],
    ids=["empty", "text", "bytes", "null", "cut off", "JSON", "a ConfigMap of text", "no report"],
)
def test_what_cannot_be_read_is_named_and_the_rest_is_shown(content: Any, reason: str, zenwatch: Zenwatch, written: Written) -> None:
    """Exit code 1, the file and the reason on stderr; all the others are there."""
    bad, good = written(content, "bad.txt"), written(SECRETS, "good.json")

    shown = zenwatch("preview", bad, good, "-o", "json")

    assert (shown.code, found(shown)) == (1, [OF_SECRETS])
    [line] = [line for line in shown.err.splitlines() if line.startswith(f"zenwatch: {bad}")]
    assert reason in line


def test_an_object_that_is_no_report_is_skipped(zenwatch: Zenwatch, written: Written) -> None:
    """A Namespace in the same file is no error. A file with nothing else is one, because nothing can be shown."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}

    beside, alone = zenwatch("preview", written(documents(namespace, SECRETS)), "-o", "json"), zenwatch("preview", written(namespace))

    assert (beside.code, found(beside), alone.code) == (0, [OF_SECRETS], 1)
    assert all("(Namespace shop): no watcher reads Namespace of v1" in shown.err for shown in (beside, alone))


def test_a_file_that_cannot_be_opened_is_named(zenwatch: Zenwatch, written: Written, tmp_path: Path) -> None:
    """One that is not there, and a folder."""
    shown = zenwatch("preview", str(tmp_path / "missing"), written(SECRETS), str(tmp_path), "-o", "json")

    assert (shown.code, found(shown)) == (1, [OF_SECRETS])
    assert f"zenwatch: {tmp_path / 'missing'}: No such file or directory" in shown.err
    assert f"zenwatch: {tmp_path}: Is a directory" in shown.err


SPOILT: Mapping[str, tuple[str, list[str]]] = {
    "a document of another kind": (documents({"a": 1}, SECRETS), [OF_SECRETS]),
    "a document that breaks off": (documents(SECRETS) + "---\na: [", [OF_SECRETS]),
    "an entry that is no object": (json.dumps({"apiVersion": "v1", "kind": "List", "items": [1, SECRETS, None]}), [OF_SECRETS]),
    "a report that cannot be read": (documents(labelled("checkov", "junk"), SECRETS), [OF_SECRETS]),
}


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_part_of_a_file_that_cannot_be_read_does_not_lose_the_rest(spoilt: str, zenwatch: Zenwatch, written: Written) -> None:
    """A List of a thousand reports is still read if one of them is broken."""
    content, expected = SPOILT[spoilt]

    shown = zenwatch("preview", written(content), "-o", "json")

    assert (shown.code, found(shown)) == (1, expected)


def test_an_empty_list_is_an_error(zenwatch: Zenwatch, written: Written) -> None:
    """Exit code 1, as after `kubectl get` in the wrong namespace."""
    shown = zenwatch("preview", written({"apiVersion": "v1", "kind": "List", "items": []}))

    assert (shown.code, shown.out, shown.err) == (1, "", "0 reports with 0 findings: 0 records\n")
