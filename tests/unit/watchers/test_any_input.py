"""Any report that a tool may write: hypothesis puts any value anywhere into a valid report, or breaks its text."""

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders.any_json import SETTINGS, changes, texts, values, with_changes
from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.payloads import SAMPLES, a_benchmark, a_config_map, a_control, a_failed_check, a_scan, a_test
from tests.support.stored_fields import faults_of
from watchers.checkov import CHECKOV
from watchers.kube_bench import KUBE_BENCH
from watchers.kyverno import KYVERNO
from watchers.trivy import TRIVY
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding
from zenwatch.sdk.watcher import Watcher

# hypothesis warns about long examples, and a failing example is printed in any case.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
WATCHERS = (TRIVY, KYVERNO, KUBE_BENCH, CHECKOV)

SHAPES: Mapping[str, Sequence[Any]] = {
    "trivy": [*SAMPLES["trivy"], a_report([a_vulnerability(links=["https://example.test/2"]), a_vulnerability()])],
    "kyverno": SAMPLES["kyverno"],
    "kube-bench": [a_benchmark(a_test(), a_test(scored=False)), [a_control(a_test())]],
    "checkov": [a_scan(a_failed_check(), a_failed_check(severity=None)), [a_scan(a_failed_check(), framework="terraform")]],
}


def _printed(document: Any) -> str:
    """Python also prints text that is no JSON: NaN, and half characters."""
    return json.dumps(document, ensure_ascii=False)


def _report(watcher: Watcher, content: Any) -> Any:
    return content if watcher in (TRIVY, KYVERNO) else a_config_map({"results.json": _printed(content)})


def _parsed(watcher: Watcher, report: Any) -> list[Finding] | None:
    """Without the errors in place of single entries. None: parse raised BadInput."""
    try:
        return [entry for entry in watcher.parse(report) if isinstance(entry, Finding)]
    except BadInput:
        return None


def _check(watcher: Watcher, report: Any) -> bool:
    """Whether the report has findings. Asserts what holds for every report."""
    before = copy.deepcopy(report)
    findings = _parsed(watcher, report)

    assert faults_of(findings or ()) == []
    # Compared as text, because NaN does not equal itself.
    assert repr(report) == repr(before)
    assert repr(_parsed(watcher, before)) == repr(findings)
    return bool(findings)


@pytest.mark.parametrize("watcher", WATCHERS, ids=lambda watcher: watcher.name)
def test_any_report_is_bad_input_or_can_be_stored(watcher: Watcher) -> None:
    """No other exception, no record that the API server would refuse, no state, and no change of the report."""
    outcomes: Counter[bool] = Counter()

    @SETTINGS
    @given(st.sampled_from(SHAPES[watcher.name]), changes)
    def check(sample: Any, wanted: list[tuple[int, Any]]) -> None:
        outcomes[_check(watcher, _report(watcher, with_changes(sample, wanted)))] += 1

    check()
    assert min(outcomes[True], outcomes[False]) > 30, "nearly all examples have the same outcome, so they prove little"


_NOISE = [
    "{",
    "}",
    "[",
    "]",
    '"',
    ":",
    ",",
    " ",
    '{"',
    '"}',
    "1",
    "null",
    "{}",
    '{"level": "info"}',
    "\ufeff",
    "ä",
    "W0612 08:14:02.113478 util.go:495] ",
]


@pytest.mark.parametrize("watcher", [KUBE_BENCH, CHECKOV], ids=lambda watcher: watcher.name)
def test_any_text_in_a_config_map_is_bad_input_or_can_be_stored(watcher: Watcher) -> None:
    """The text may be broken, cut off, repeated, amid other text, or in binaryData."""
    outcomes: Counter[bool] = Counter()
    noise = st.lists(st.sampled_from(_NOISE), max_size=3).map("".join) | texts
    whole = st.sampled_from([_printed(shape) for shape in SHAPES[watcher.name]])
    broken = st.builds(lambda text, end: text[: end % len(text)], whole, st.integers(0, 10**6))
    kinds = {"noise": noise, "whole": whole, "also whole": whole, "broken": broken}
    lines = st.lists(st.sampled_from([*kinds]).flatmap(lambda kind: kinds[kind]), max_size=4).map("\n".join)
    plain = st.dictionaries(st.sampled_from(["a.json", "b.json", "c.txt"]), lines, min_size=1, max_size=2)
    binary = st.none() | st.dictionaries(st.just("d.json.gz"), texts, max_size=1)

    @SETTINGS
    @given(plain, binary)
    def check(data: Any, binary_data: Any) -> None:
        config_map = {"kind": "ConfigMap", "metadata": {"name": "results"}, "data": data, "binaryData": binary_data}
        outcomes[_check(watcher, config_map)] += 1

    check()
    assert min(outcomes[True], outcomes[False]) > 30, "nearly all examples have the same outcome, so they prove little"


@pytest.mark.parametrize("watcher", WATCHERS, ids=lambda watcher: watcher.name)
def test_any_object_is_bad_input_or_can_be_stored(watcher: Watcher) -> None:
    """Whatever the names of its fields."""

    @SETTINGS
    @given(st.dictionaries(st.sampled_from(["kind", "metadata", "report", "results", "data", "binaryData", "scope"]) | texts, values))
    def check(report: Any) -> None:
        _check(watcher, report)

    check()
