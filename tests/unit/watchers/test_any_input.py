"""What tools might send one day: the right shape but for a few places, with anything there. hypothesis thinks of it."""

import copy
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

# The same examples every time: a build fails for what was changed, not for luck.
SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)
# A failing example is printed however long it is.
pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
WATCHERS = (TRIVY, KYVERNO, KUBE_BENCH, CHECKOV)

texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(["", " ", "\x00", "\ud800", "a\r\nb\u2028", "/", "fail", "FAIL", "Pod", "HIGH", "Node", "kyverno"]),
    st.sampled_from(["x" * 2000, "ä" * 2000, "\U0001f600" * 600, "a b " * 300, "\ud800" * 300, "[" * 500, '{"' * 500]),
    st.sampled_from(["https://example.test/", "https://ä", "http://\ud800", "https://x y", "https://" + "x" * 600]),
    st.sampled_from(["0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2026-01-01", "20260101T10", "2026-01-01T10:00:00+14:00"]),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([2**63, 2**200, -(2**200), 10**4000]), st.floats(), texts)


def _deep(levels: int) -> Any:
    value: Any = "deep"
    for level in range(levels):
        value = [value] if level % 2 else {"tests": value}
    return value


values = st.one_of(
    scalars,
    texts,
    st.lists(scalars, max_size=4),
    st.dictionaries(texts, scalars, max_size=4),
    st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6),
    st.sampled_from([_deep(6), _deep(100), [f"entry {number} " + "x" * 500 for number in range(60)], ["ä" * 600, "ö" * 600]]),
)
# Which place to change, counted through all places of the sample; and what to put there, if anything.
changes = st.lists(st.tuples(st.integers(0, 10**6), st.one_of(st.just(KeyError), values)), min_size=1, max_size=4)

SHAPES: Mapping[str, Sequence[Any]] = {
    "trivy": [*SAMPLES["trivy"], a_report([a_vulnerability(links=["https://example.test/2"]), a_vulnerability()])],
    "kyverno": SAMPLES["kyverno"],
    "kube-bench": [a_benchmark(a_test(), a_test(scored=False)), [a_control(a_test())]],
    "checkov": [a_scan(a_failed_check(), a_failed_check(severity=None)), [a_scan(a_failed_check(), framework="terraform")]],
}


def _places(part: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every value inside part, as deep as the tools nest."""
    steps = list(part.items()) if isinstance(part, dict) else list(enumerate(part)) if isinstance(part, list) else []
    if len(before) == 12:
        return []
    return [place for step, value in steps for place in ((*before, step), *_places(value, (*before, step)))]


def _changed(sample: Any, wanted: list[tuple[int, Any]]) -> Any:
    changed = copy.deepcopy(sample)
    for number, value in wanted:
        places = _places(changed)
        if not places:
            break
        *way, last = places[number % len(places)]
        holder = changed
        for step in way:
            holder = holder[step]
        if value is KeyError:
            del holder[last]
        else:
            # A copy: the next change may be inside it.
            holder[last] = copy.deepcopy(value)
    return changed


def _printed(document: Any) -> str:
    """As Python prints JSON, so also what is none: NaN, halves of characters."""
    return json.dumps(document, ensure_ascii=False)


def _report(watcher: Watcher, content: Any) -> Any:
    return content if watcher in (TRIVY, KYVERNO) else a_config_map({"results.json": _printed(content)})


def _parsed(watcher: Watcher, report: Any) -> list[Finding] | None:
    """None: BadInput."""
    try:
        return list(watcher.parse(report))
    except BadInput:
        return None


def _check(watcher: Watcher, report: Any) -> bool:
    """Whether something was found; what must hold in any case is asserted."""
    before = copy.deepcopy(report)
    findings = _parsed(watcher, report)

    assert faults_of(findings or ()) == []
    # As text: NaN is not itself.
    assert repr(report) == repr(before)
    assert repr(_parsed(watcher, before)) == repr(findings)
    return bool(findings)


@pytest.mark.parametrize("watcher", WATCHERS, ids=lambda watcher: watcher.name)
def test_any_report_is_bad_input_or_can_be_stored(watcher: Watcher) -> None:
    """No other exception, no record that the API server would refuse, nothing remembered, nothing changed."""
    outcomes: Counter[bool] = Counter()

    @SETTINGS
    @given(st.sampled_from(SHAPES[watcher.name]), changes)
    def check(sample: Any, wanted: list[tuple[int, Any]]) -> None:
        outcomes[_check(watcher, _report(watcher, _changed(sample, wanted)))] += 1

    check()
    assert min(outcomes[True], outcomes[False]) > 30, "nearly all examples had the same outcome: they prove little"


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
    """Broken, cut off, repeated, amid other text; also in binaryData."""
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
    assert min(outcomes[True], outcomes[False]) > 30, "nearly all examples had the same outcome: they prove little"


@pytest.mark.parametrize("watcher", WATCHERS, ids=lambda watcher: watcher.name)
def test_any_object_is_bad_input_or_can_be_stored(watcher: Watcher) -> None:
    """Whatever its fields are called."""

    @SETTINGS
    @given(st.dictionaries(st.sampled_from(["kind", "metadata", "report", "results", "data", "binaryData", "scope"]) | texts, values))
    def check(report: Any) -> None:
        _check(watcher, report)

    check()
