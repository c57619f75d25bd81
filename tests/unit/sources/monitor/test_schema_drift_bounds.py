"""Drift in the large: kinds, floods, junk, and what tools really send."""

import json
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import corpus
from tests.support.builders.observed import (
    A_RESULT,
    A_VULNERABILITY,
    AN_ALERT,
    Json,
    UnhurriedDetector,
    a_config_map,
    a_policy_report,
    a_report,
    observe,
    without,
)
from tests.support.fakes.clock import FakeClock
from zenwatch.sources.monitor.schema_drift import MOST_ENTRIES_OF_A_LIST, MOST_MISSING, MOST_PATHS

# The same examples every time: a build fails for what was changed, not for luck.
SETTINGS = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def drift(clock: FakeClock) -> UnhurriedDetector:
    return UnhurriedDetector(clock)


# ---------------------------------------------------------------- kinds


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (AN_ALERT, {"rule": "Anonymous", "source": "k8s_audit"}),
        (a_report(A_VULNERABILITY), a_report(kind="ConfigAuditReport") | {"report": {"checks": []}}),
        (a_report(A_VULNERABILITY | {"packageType": "jar"}), a_report({"vulnerabilityID": "CVE-2", "packageType": "gobinary"})),
        (a_policy_report(A_RESULT), a_policy_report({"source": "falco", "policy": "p"})),
        (a_config_map({"check_type": "kubernetes", "results": {}}), a_config_map({"check_type": "secrets", "summary": {}})),
        ({"stage": "ResponseComplete", "verb": "create", "requestObject": {}}, {"stage": "ResponseComplete", "verb": "get"}),
    ],
)
def test_what_only_one_kind_has_is_not_missing_where_another_comes(drift: UnhurriedDetector, one: Json, other: Json) -> None:
    """They share an address or a list, and stand in it for a while each."""
    observe(drift, one, times=60)

    assert observe(drift, other, times=100) == ()


def test_the_word_that_tells_kinds_apart_can_be_missing_too(drift: UnhurriedDetector) -> None:
    """Without it the payload is of a kind that was never seen, which is no reason to say nothing."""
    observe(drift, AN_ALERT, times=50)

    assert observe(drift, without(AN_ALERT, "source"), times=20) == ("source",)


# ---------------------------------------------------------------- bounds


def test_no_more_payloads_are_looked_at_than_it_may(clock: FakeClock) -> None:
    """A storm of alerts is sampled: a few of each second."""
    drift = UnhurriedDetector(clock, payloads_per_sec=2)
    for _ in range(20):
        for _ in range(1000):
            drift.observe(AN_ALERT)
        clock.advance(secs=1)

    assert 30 <= drift._observed <= 50


def test_only_the_first_entries_of_a_list_are_looked_at(drift: UnhurriedDetector) -> None:
    """A report of a hundred thousand packages takes no longer than others."""
    entries = [A_VULNERABILITY] * MOST_ENTRIES_OF_A_LIST
    observe(drift, a_report(*entries), times=10)

    assert observe(drift, a_report(*entries, *[{}] * 100_000), times=10) == ()


def test_names_that_could_be_anything_are_not_kept(drift: UnhurriedDetector) -> None:
    """Names are letters and digits, at most 64 of them; values are never kept."""
    odd = {"pass word": 1, "ä": 1, "x" * 65: 1, "a/b": [{"inner": 1}], "": 1, "secret\n": 1}
    alert = {"kind": "Alert", "token": "hunter2", "source": "hunter3", "list": [odd], **odd}
    observe(drift, alert, times=50)

    assert observe(drift, {"kind": "Alert", "source": "hunter3", "list": [{}]}, times=20) == ("token",)
    assert "hunter" not in repr(drift._fields)


def test_memory_is_bounded(drift: UnhurriedDetector) -> None:
    """Whatever comes: names, lists and kinds without end."""
    for number in range(2000):
        observe(drift, {"source": f"kind-{number}", f"field-{number}": 1})
        observe(drift, {"kind": "Report", f"list-{number}": [{f"field-{index}": 1 for index in range(200)}]})

    assert sum(1 + len(fields.names) for fields in drift._fields.values()) <= MOST_PATHS


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(['{"results": [{"a": 1}]}', "[{}]"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["kind", "data", "source", "results", "report", "a.b", "", "ä"]) | st.text(), inner, max_size=5)
    ),
    max_leaves=30,
)


@SETTINGS
@given(st.lists(json_values | st.fixed_dictionaries({"kind": st.sampled_from(["ConfigMap", "Report"]), "data": json_values}), max_size=30))
def test_no_payload_makes_it_raise(payloads: list[Any]) -> None:
    """It listens beside the work and must never disturb it."""
    drift = UnhurriedDetector(FakeClock())

    for payload in payloads:
        observe(drift, payload, times=2)

    assert sum(1 + len(fields.names) for fields in drift._fields.values()) <= MOST_PATHS
    assert len(drift.missing) <= MOST_MISSING


# ---------------------------------------------------------------- what tools really send


def _payloads_of(tool: str) -> list[Json]:
    """Without their versions, so that each time one comes it counts as another."""
    read = corpus.config_maps_of if tool in ("kube-bench", "checkov") else corpus.objects_of
    payloads = [payload for parameter in read(tool) if not parameter.marks for _, payload in [parameter.values]]
    return [_changed(payload, "resourceVersion") for payload in payloads] or pytest.skip("no corpus: set ZENWATCH_CORPUS")


def _changed(document: Any, gone: str) -> Any:
    """Without this field, wherever it stands; also in JSON that is a text."""
    if isinstance(document, dict):
        return {name: _changed(value, gone) for name, value in document.items() if name != gone}
    if isinstance(document, list):
        return [_changed(part, gone) for part in document]
    if isinstance(document, str) and document.startswith(("{", "[")):
        with suppress(ValueError):
            return json.dumps(_changed(json.loads(document), gone))
    return document


def _shuffled(payloads: list[Json], chance: random.Random, *, rounds: int) -> Iterator[Json]:
    for _ in range(rounds):
        yield from chance.sample(payloads, len(payloads))


@pytest.mark.parametrize("tool", ["trivy", "kyverno", "kube-bench", "checkov", "falco", "audit"])
@pytest.mark.parametrize("seed", range(5))
def test_real_payloads_of_all_versions_raise_no_alarm(tool: str, seed: int, drift: UnhurriedDetector) -> None:
    """Mixed, as in no cluster: in any order, again and again."""
    for payload in _shuffled(_payloads_of(tool), random.Random(seed), rounds=20):  # noqa: S311
        assert observe(drift, payload) == ()


@pytest.mark.parametrize(
    ("tool", "path"),
    [
        ("trivy", "report.vulnerabilities[].severity"),
        ("trivy", "report.checks[].checkID"),
        ("kyverno", "results[].policy"),
        ("kyverno", "results[].result"),
        ("kube-bench", "data.*.Controls[].tests[].results[].status"),
        ("checkov", "data.*.results.failed_checks[].check_id"),
        ("falco", "output"),
        ("falco", "source"),
        ("audit", "auditID"),
        ("audit", "verb"),
    ],
)
def test_a_field_that_real_payloads_lose_is_missed(tool: str, path: str, drift: UnhurriedDetector) -> None:
    """One that a watcher needs, or that tells kinds apart."""
    payloads, chance, field = _payloads_of(tool), random.Random(1), path.rpartition(".")[2]  # noqa: S311
    if path == "source":
        # Old alerts have none.
        payloads = [payload for payload in payloads if "source" in payload]
    for payload in _shuffled(payloads, chance, rounds=20):
        observe(drift, payload)

    for payload in _shuffled(payloads, chance, rounds=10):
        observe(drift, _changed(payload, field))

    assert path in drift.missing
