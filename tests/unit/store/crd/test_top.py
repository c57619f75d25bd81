"""zenwatch/store/crd/top.py: many records, one line."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.support.builders.records import a_stored
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.record import DIMENSIONS, Phase, Stored
from zenwatch.store.crd.top import TopGroups


def a_record(number: int, cve: str, severity: str, phase: str = Phase.OPEN, namespace: str = "shop") -> Stored:
    resource = Resource("v1", "Pod", f"pod-{number}", namespace)
    return a_stored(name=f"r{number}", severity=severity, phase=phase, resource=resource, cve=cve, image="app:1")


def groups_of(records: Sequence[Stored]) -> TopGroups:
    groups = TopGroups()
    for record in records:
        groups.replace(None, record)
    return groups


def test_one_cve_in_many_workloads_is_one_line() -> None:
    """It has the number of open records, the worst severity, and the number of resolved records."""
    groups = groups_of(
        [
            a_record(1, "CVE-1", "HIGH"),
            a_record(2, "CVE-1", "CRITICAL"),
            a_record(3, "CVE-1", "HIGH", Phase.RESOLVED),
            a_record(4, "CVE-2", "HIGH"),
        ]
    )

    assert groups.top("cve", 10) == [
        {"value": "CVE-1", "worst": "CRITICAL", "open": 2, "CRITICAL": 1, "HIGH": 1, "MEDIUM": 0, "LOW": 0, "INFO": 0, "resolved": 1},
        {"value": "CVE-2", "worst": "HIGH", "open": 1, "CRITICAL": 0, "HIGH": 1, "MEDIUM": 0, "LOW": 0, "INFO": 0, "resolved": 0},
    ]
    assert [line["open"] for line in groups.top("namespace", 10)] == [3]
    assert groups.top("policy", 10) == []


def test_one_critical_record_comes_before_many_high_ones() -> None:
    """Of groups with the same worst severity, the larger one comes first."""
    records = [a_record(number, "many", "HIGH") for number in range(5)]
    groups = groups_of([*records, a_record(6, "worst", "CRITICAL"), a_record(7, "few", "HIGH")])

    assert [line["value"] for line in groups.top("cve", 10)] == ["worst", "many", "few"]
    assert [line["value"] for line in groups.top("cve", 2)] == ["worst", "many"]
    assert groups.size("cve") == 3


def test_what_is_only_resolved_is_no_line() -> None:
    """Only open records count."""
    groups = groups_of([a_record(1, "gone", "CRITICAL", Phase.RESOLVED)])

    assert groups.top("cve", 10) == []
    assert groups.size("cve") == 0


def test_every_dimension_of_a_record_counts() -> None:
    """A record is in one group of each dimension that it has a value for."""
    resource = Resource("v1", "Pod", "nginx", "shop")
    record = a_stored(resource=resource, cve="CVE-1", policy="no-root", rule="check", image="app:1", actor="alice")
    groups = groups_of([record])

    assert [groups.top(dimension, 1)[0]["value"] for dimension in DIMENSIONS] == ["CVE-1", "no-root", "check", "app:1", "alice", "shop"]


_RECORDS = st.builds(
    a_record,
    st.integers(0, 5),
    st.sampled_from(["CVE-1", "CVE-2", ""]),
    st.sampled_from([severity.value for severity in Severity]),
    st.sampled_from([Phase.OPEN.value, Phase.RESOLVED.value, Phase.SUPPRESSED.value]),
    st.sampled_from(["shop", ""]),
)


@given(st.lists(st.tuples(_RECORDS, st.booleans())))
def test_counting_step_by_step_says_what_counting_at_once_says(steps: list[tuple[Stored, bool]]) -> None:
    """Whatever is added, changed and removed; no group is left of records that are gone."""
    groups, kept = TopGroups(), dict[str, Stored]()
    for record, stays in steps:
        groups.replace(kept.pop(record.name, None), record if stays else None)
        if stays:
            kept[record.name] = record

    anew = groups_of(list(kept.values()))
    assert _all(groups) == _all(anew)
    for record in kept.values():
        groups.replace(record, None)
    assert groups._counts == {dimension: {} for dimension in DIMENSIONS}


def _all(groups: TopGroups) -> dict[str, list[dict[str, Any]]]:
    return {dimension: groups.top(dimension, 100) for dimension in DIMENSIONS}


def test_a_change_of_phase_moves_a_record() -> None:
    """It is counted once, where it is now."""
    record = a_record(1, "CVE-1", "HIGH")
    groups = groups_of([record])

    groups.replace(record, replace(record, phase=Phase.RESOLVED))

    assert groups.top("cve", 10) == []
