"""Fields that a tool always sent, and does not any more."""

import pytest

from tests.support.builders.observed import (
    A_RESULT,
    A_VULNERABILITY,
    AN_ALERT,
    UnhurriedDetector,
    a_config_map,
    a_policy_report,
    a_report,
    observe,
    without,
)
from tests.support.fakes.clock import FakeClock
from zenwatch.sources.monitor.schema_drift import MOST_DOCUMENT_CHARS, MOST_MISSING


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def drift(clock: FakeClock) -> UnhurriedDetector:
    return UnhurriedDetector(clock)


# ---------------------------------------------------------------- learned, missing, back


def test_a_field_that_was_always_there_and_is_not_any_more_is_missing(drift: UnhurriedDetector) -> None:
    """Fifty alerts had it, twenty in a row have not."""
    observe(drift, AN_ALERT, times=50)

    assert observe(drift, without(AN_ALERT, "time"), times=19) == ()
    assert observe(drift, without(AN_ALERT, "time")) == ("time",)


def test_a_field_is_not_missing_any_more_when_it_is_seen_again(drift: UnhurriedDetector) -> None:
    """Once is enough."""
    observe(drift, AN_ALERT, times=50)
    observe(drift, without(AN_ALERT, "time"), times=20)

    assert observe(drift, AN_ALERT) == ()


def test_what_was_not_in_each_of_the_first_entries_is_never_missing(drift: UnhurriedDetector) -> None:
    """Too few were seen, or one of them was without it."""
    observe(drift, AN_ALERT, times=48)
    observe(drift, without(AN_ALERT, "time"))
    observe(drift, AN_ALERT)

    assert observe(drift, without(AN_ALERT, "time"), times=200) == ()


def test_a_key_is_there_whatever_its_value(drift: UnhurriedDetector) -> None:
    """Empty and null are what a tool says when there is nothing to say."""
    observe(drift, AN_ALERT, times=50)

    assert observe(drift, AN_ALERT | {"time": None, "rule": "", "output_fields": {}}, times=50) == ()


def test_what_was_missing_for_a_while_is_missing_again_only_after_longer(drift: UnhurriedDetector) -> None:
    """Some fields are rare, and while nodes are upgraded one by one a field comes and goes. In the end it is told all the same."""
    observe(drift, AN_ALERT, times=50)
    for _ in range(10):
        assert observe(drift, without(AN_ALERT, "time"), times=15) == ()
        observe(drift, AN_ALERT)

    assert observe(drift, without(AN_ALERT, "time"), times=44) == ()
    assert observe(drift, without(AN_ALERT, "time")) == ("time",)


def test_from_one_drift_nobody_learns_that_drift_is_usual(drift: UnhurriedDetector) -> None:
    """The field was away for thousands of alerts and came back; the next time sixty are enough."""
    observe(drift, AN_ALERT, times=50)
    observe(drift, without(AN_ALERT, "time"), times=3000)
    observe(drift, AN_ALERT)

    assert observe(drift, without(AN_ALERT, "time"), times=60) == ("time",)


def test_the_names_are_sorted_and_bounded(drift: UnhurriedDetector) -> None:
    """They stand in a record and in a log line."""
    alert = {f"field-{number:02}": number for number in range(60)}
    observe(drift, alert, times=50)

    missing = observe(drift, {"other": 1}, times=20)

    assert missing == tuple(sorted(alert)[:MOST_MISSING])


# ---------------------------------------------------------------- paths


def test_an_element_of_a_list_is_an_entry(drift: UnhurriedDetector) -> None:
    """Ten vulnerabilities of five reports are fifty entries; a field's path says in what list it was."""
    observe(drift, a_report(*[A_VULNERABILITY] * 10), times=5)

    assert observe(drift, a_report(*[without(A_VULNERABILITY, "severity")] * 7), times=3) == ("report.vulnerabilities[].severity",)


def test_one_payload_decides_nothing(drift: UnhurriedDetector) -> None:
    """A report of a thousand packages of one kind is one report: neither learned from one, nor missing in two."""
    observe(drift, a_report(*[A_VULNERABILITY] * 1000), times=4)
    odd = a_report(*[without(A_VULNERABILITY, "severity")] * 1000)
    observe(drift, odd)
    assert observe(drift, odd, times=50) == ()

    observe(other := UnhurriedDetector(FakeClock()), a_report(*[A_VULNERABILITY] * 1000), times=5)
    assert observe(other, odd, times=2) == ()
    assert observe(other, odd) == ("report.vulnerabilities[].severity",)


def test_an_object_that_is_listed_again_is_the_same_payload(drift: UnhurriedDetector) -> None:
    """One report that is read anew and anew says no more than once; its next version does."""
    observe(drift, a_report(*[A_VULNERABILITY] * 10), times=5)
    odd = a_report(*[without(A_VULNERABILITY, "severity")] * 10)

    for version in (1, 2):
        odd["metadata"]["resourceVersion"] = str(version)
        assert observe(drift, odd, times=10) == ()
    odd["metadata"]["resourceVersion"] = "3"
    assert observe(drift, odd) == ("report.vulnerabilities[].severity",)


def test_a_list_that_is_gone_is_one_field(drift: UnhurriedDetector) -> None:
    """Of its entries nothing is known then; an empty list is there."""
    observe(drift, a_policy_report(A_RESULT), times=50)
    observe(drift, a_policy_report(), times=50)
    assert drift.missing == []

    assert observe(drift, without(a_policy_report(), "results"), times=20) == ("results",)


def test_a_map_of_an_object_is_looked_into(drift: UnhurriedDetector) -> None:
    """report.scanner.version, as deep as three names."""
    scanner = {"name": "Trivy", "version": "1", "vendor": {"deep": 1}}
    observe(drift, a_report(scanner=scanner), times=50)

    assert observe(drift, a_report(scanner={"name": "Trivy", "vendor": {}}), times=20) == ("report.scanner.version",)


def test_maps_whose_keys_vary_raise_no_alarm(drift: UnhurriedDetector) -> None:
    """output_fields by rule, properties by policy, labels and annotations by whoever wrote them."""
    observe(drift, AN_ALERT, times=50)
    observe(drift, a_policy_report(A_RESULT | {"scores": {"nvd": 1}}) | {"labels": {"a": 1}}, times=50)

    observe(drift, AN_ALERT | {"output_fields": {"ka.verb": "get"}}, times=50)
    observe(drift, a_policy_report(A_RESULT | {"properties": {}, "scores": {}}) | {"labels": {}}, times=50)
    assert drift.missing == []


def test_what_the_api_server_adds_is_no_field_of_the_tool(drift: UnhurriedDetector) -> None:
    """A list names apiVersion and kind once, a watch in each object; metadata is Kubernetes' own."""
    observe(drift, a_report(A_VULNERABILITY), times=50)

    assert observe(drift, without(a_report(A_VULNERABILITY), "apiVersion", "metadata"), times=50) == ()


def test_a_config_map_is_looked_into(drift: UnhurriedDetector) -> None:
    """The JSON in it, under whatever key it is; Kubernetes' lists of ConfigMaps and its watch events differ around it."""
    control = {"node_type": "node", "tests": [{"results": [{"test_number": "1", "status": "FAIL"}] * 10}]}
    observe(drift, a_config_map({"Controls": [control], "Totals": {"total_fail": 1}}, "worker-1.json"), times=50)
    changed = {"node_type": "node", "tests": [{"results": [{"test_number": "1"}] * 10}]}

    missing = observe(drift, a_config_map({"Controls": [changed], "Totals": {}}, "worker-2.json"), times=20)

    assert missing == ("data.*.Controls[].tests[].results[].status", "data.*.Totals.total_fail")


def test_a_list_of_documents_is_looked_into(drift: UnhurriedDetector) -> None:
    """Checkov prints one if it ran several frameworks."""
    document = {"check_type": "kubernetes", "results": {"failed_checks": [{"check_id": "CKV_1", "resource": "r"}]}}
    observe(drift, a_config_map([document]), times=50)
    changed = {"check_type": "kubernetes", "results": {"failed_checks": [{"check_id": "CKV_1"}]}}

    assert observe(drift, a_config_map([changed]), times=20) == ("data.*[].results.failed_checks[].resource",)


@pytest.mark.parametrize(
    "text", ["", "plain", "{broken", "[" * 10_000, "{\ud800}", "[1, null]", '"text"', "[" + " " * MOST_DOCUMENT_CHARS + '{"a": 1}]']
)
def test_text_that_is_no_document_is_passed_over(drift: UnhurriedDetector, text: str) -> None:
    """Also one that would take too long to read."""
    observe(drift, {"kind": "ConfigMap", "data": {"results.json": text}})

    assert drift._fields == {}
