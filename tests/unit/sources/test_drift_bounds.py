"""Drift in the large: kinds, floods, junk, and what tools really send."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes.clock import FakeClock
from tests.unit.sources.test_drift import (
    A_RESULT,
    A_VULNERABILITY,
    AN_ALERT,
    Json,
    a_config_map,
    a_policy_report,
    a_report,
    observe,
    without,
)
from tests.unit.watchers import corpus
from zenwatch.sources.drift import MOST_ENTRIES_OF_A_LIST, MOST_MISSING, MOST_PATHS, Drift

# The same examples every time: a build fails for what was changed, not for luck.
SETTINGS = settings(max_examples=100, deadline=None, derandomize=True, database=None)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def drift(clock: FakeClock) -> Drift:
    return Drift(clock)


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
def test_what_only_one_kind_has_is_not_missing_where_another_comes(drift: Drift, one: Json, other: Json) -> None:
    """They share an address or a list, and stand in it for a while each."""
    observe(drift, one, times=60)

    assert observe(drift, other, times=100) == ()


def test_the_word_that_tells_kinds_apart_can_be_missing_too(drift: Drift) -> None:
    """Without it the payload is of a kind that was never seen, which is no reason to say nothing."""
    observe(drift, AN_ALERT, times=50)

    assert observe(drift, without(AN_ALERT, "source"), times=20) == ("source",)


# ---------------------------------------------------------------- bounds


def test_no_more_payloads_are_looked_at_than_it_may(clock: FakeClock) -> None:
    """A storm of alerts is sampled: a few of each second."""
    drift = Drift(clock, payloads_per_sec=2)
    for _ in range(20):
        for _ in range(1000):
            drift.observe(AN_ALERT)
        clock.advance(secs=1)

    assert 30 <= drift._observed <= 50


def test_only_the_first_entries_of_a_list_are_looked_at(drift: Drift) -> None:
    """A report of a hundred thousand packages takes no longer than others."""
    entries = [A_VULNERABILITY] * MOST_ENTRIES_OF_A_LIST
    observe(drift, a_report(*entries), times=10)

    assert observe(drift, a_report(*entries, *[{}] * 100_000), times=10) == ()


def test_names_that_could_be_anything_are_not_kept(drift: Drift) -> None:
    """Names are letters and digits, at most 64 of them; values are never kept."""
    odd = {"pass word": 1, "ä": 1, "x" * 65: 1, "a/b": [{"inner": 1}], "": 1, "secret\n": 1}
    alert = {"kind": "Alert", "token": "hunter2", "source": "hunter3", "list": [odd], **odd}
    observe(drift, alert, times=50)

    assert observe(drift, {"kind": "Alert", "source": "hunter3", "list": [{}]}, times=20) == ("token",)
    assert "hunter" not in repr(drift._fields)


def test_memory_is_bounded(drift: Drift) -> None:
    """Whatever comes: names, lists and kinds without end."""
    for number in range(2000):
        observe(drift, {"source": f"kind-{number}", f"field-{number}": 1})
        observe(drift, {"kind": "Report", f"list-{number}": [{f"field-{place}": 1 for place in range(200)}]})

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
    drift = Drift(FakeClock())

    for payload in payloads:
        observe(drift, payload, times=2)

    assert sum(1 + len(fields.names) for fields in drift._fields.values()) <= MOST_PATHS
    assert len(drift.missing) <= MOST_MISSING


# ---------------------------------------------------------------- what tools really send


def _payloads_of(parameters: list[Any]) -> list[Json]:
    payloads = [payload for parameter in parameters if not parameter.marks for _, payload in [parameter.values]]
    return payloads or pytest.skip("no corpus: set ZENWATCH_CORPUS")


def _objects_of(tool: str) -> list[Json]:
    return _payloads_of(corpus.objects_of(tool))


def _config_maps_of(tool: str) -> list[Json]:
    return _payloads_of(corpus.config_maps_of(tool))


@pytest.mark.parametrize(
    ("tool", "read"),
    [
        ("trivy", _objects_of),
        ("kyverno", _objects_of),
        ("kube-bench", _config_maps_of),
        ("checkov", _config_maps_of),
        ("falco", _objects_of),
        ("audit", _objects_of),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_real_payloads_of_all_versions_raise_no_alarm(tool: str, read: Callable[[str], list[Json]], seed: int, drift: Drift) -> None:
    """Mixed, as in no cluster: in any order, again and again."""
    payloads, chance = read(tool), random.Random(seed)  # noqa: S311

    for _ in range(20):
        for payload in chance.sample(payloads, len(payloads)):
            assert observe(drift, payload) == ()
