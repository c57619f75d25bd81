"""zenwatch/processing/event/normalise.py: findings in our normal form, within the CRD's limits."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tests.support.builders.findings import a_finding
from zenwatch.model.event import Event, record_name
from zenwatch.model.finding import Resource
from zenwatch.model.text import one_line
from zenwatch.processing.event.free_text import clean_key
from zenwatch.processing.event.normalise import normalise

SEEN_AT = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
SMILE = "\U0001f600"


def _normalised(**changes: Any) -> Event:
    return normalise(a_finding(**changes), cluster_id="local", seen_at=SEEN_AT)


def test_an_event_holds_what_the_finding_holds() -> None:
    """Nothing is lost and nothing is added."""
    event = _normalised(remediation="Upgrade", references=["https://example.test/1"], tool_score=5.0)

    assert event == Event(
        name=record_name("trivy-vuln-", cluster_id="local", source="trivy", key="default/Pod/nginx/CVE-2026-1"),
        source="trivy",
        cluster_id="local",
        key="default/Pod/nginx/CVE-2026-1",
        category=a_finding().type.category,
        severity=a_finding().severity,
        score=77,
        event_type="vulnerability-report",
        detected_at="2026-01-01T10:00:00Z",
        title="CVE-2026-1 in zlib 1.2",
        remediation="Upgrade",
        references=("https://example.test/1",),
        resource=Resource("v1", "Pod", "nginx", "default"),
        details={"vulnID": "CVE-2026-1", "packages": ["zlib 1.2"]},
    )


# ---------------------------------------------------------------- times


def test_without_a_time_it_was_detected_when_we_saw_it() -> None:
    """docs/records.md, "Spec": the tool's own time, or the time when zenwatch first sees the finding."""
    assert _normalised(detected_at=None).detected_at == "2026-05-06T07:08:09Z"


def test_a_time_without_a_zone_is_utc() -> None:
    """It is not read in the zone of the machine that zenwatch runs on."""
    assert _normalised(detected_at=datetime(2026, 1, 1, 10, 0)).detected_at == "2026-01-01T10:00:00Z"  # noqa: DTZ001


def test_a_time_in_another_zone_becomes_utc() -> None:
    """All records sort by one clock."""
    there = timezone(timedelta(hours=-8))

    assert _normalised(detected_at=datetime(2026, 1, 1, 10, 0, tzinfo=there)).detected_at == "2026-01-01T18:00:00Z"


def test_a_time_that_utc_cannot_express_counts_as_none() -> None:
    """0001-01-01 in an eastern zone lies before the calendar; it must not end the whole source."""
    there = timezone(timedelta(hours=1))

    assert _normalised(detected_at=datetime(1, 1, 1, tzinfo=there)).detected_at == "2026-05-06T07:08:09Z"


# ---------------------------------------------------------------- text


@pytest.mark.parametrize("odd", ["\n", "\r\n", "\t", "\x00", "\x1b", "\x7f", "\x85", "\u2028", "\u00a0", " \n "])
def test_white_space_and_control_characters_become_one_space(odd: str) -> None:
    """A title is one line, and nothing in it moves a terminal's cursor."""
    assert one_line(f"{odd}a{odd}b{odd}", 100) == "a b"


@pytest.mark.parametrize("odd", ["\x80", "\x9b", "\x9f"])
def test_the_second_set_of_control_characters_is_gone_too(odd: str) -> None:
    """U+009B begins a terminal's escape sequence just as ESC [ does."""
    assert one_line(f"a{odd}b", 100) == "a b"


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    """It is no text in any encoding; the API server would refuse the whole record."""
    event = _normalised(title="a\ud800b", key="k\udfff", remediation="\ud800", details={"packages": ["\udc00"], "vulnID": "\ud800"})

    assert (event.title, event.key, event.remediation) == ("a?b", clean_key("k\udfff"), "?")
    assert event.key.startswith("k?~")
    assert event.details == {"packages": ["?"], "vulnID": "?"}


@pytest.mark.parametrize("letter", ["x", SMILE])
def test_text_that_is_too_long_ends_in_an_ellipsis(letter: str) -> None:
    """Limits count characters, as the CRD does, whatever their bytes."""
    event = _normalised(title=letter * 257, remediation=letter * 1025, details={"package": letter * 513})

    assert event.title == letter * 255 + "…"
    assert event.remediation == letter * 1023 + "…"
    assert event.details["package"] == letter * 511 + "…"


def test_text_that_just_fits_is_left_alone() -> None:
    """No limit is off by one."""
    event = _normalised(title="x" * 256, remediation="x" * 1024, details={"package": "x" * 512})

    assert (len(event.title), len(event.remediation), event.details["package"]) == (256, 1024, "x" * 512)


def test_an_empty_title_is_the_type() -> None:
    """The CRD wants one character at least."""
    assert _normalised(title=" \n ").title == "vulnerability-report"


# ---------------------------------------------------------------- key, references, resource, details


def test_a_key_of_1024_characters_is_kept() -> None:
    """docs/records.md, "What zenwatch shortens": a key has at most 1,024 characters."""
    assert clean_key("x" * 1024) == "x" * 1024


def test_long_keys_that_differ_at_their_end_stay_two() -> None:
    """Cut keys must not make two findings one."""
    one, other = clean_key("x" * 2000 + "a"), clean_key("x" * 2000 + "b")

    assert one != other
    assert len(one) == len(other) == 1024
    assert _normalised(key="x" * 2000 + "a").name != _normalised(key="x" * 2000 + "b").name


def test_only_web_addresses_that_fit_are_references() -> None:
    """An address that is cut leads nowhere; javascript: leads somewhere else."""
    fits, too_long = "https://example.test/" + "x" * 491, "https://example.test/" + "x" * 492
    references = ["javascript:alert(1)", "ftp://example.test", "", fits, fits, too_long, "http://example.test/1"]

    assert _normalised(references=references).references == (fits, "http://example.test/1")


def test_ten_references_are_kept_in_their_order() -> None:
    """The most useful first."""
    references = [f"https://example.test/{number}" for number in range(12)]

    assert _normalised(references=references).references == tuple(references[:10])


def test_a_reference_is_one_line_of_text() -> None:
    """Whatever stands in it, the record can be sent and shown."""
    for url in _normalised(references=["https://example.test/\ud800", "https://example.test/a\nb"]).references:
        url.encode()
        assert "\n" not in url


def test_the_resource_keeps_the_crds_limits() -> None:
    """317, 63, 253 and 63 characters."""
    resource = _normalised(resource=Resource("x" * 400, "x" * 400, "x" * 400, "x" * 400), key="k").resource

    assert [len(part) for part in (resource.api_version, resource.kind, resource.name, resource.namespace)] == [317, 63, 253, 63]


def test_lists_in_details_are_sorted_and_hold_each_entry_once() -> None:
    """The order of a report is chance."""
    assert _normalised(details={"packages": ["b", "a", "b", "a\n"]}).details["packages"] == ["a", "b"]


def test_numbers_and_truths_in_details_stay_what_they_are() -> None:
    """A CVSS score is a number to whoever reads the record."""
    assert _normalised(details={"cvss": 7.5, "count": 3, "scored": True}).details == {"cvss": 7.5, "count": 3, "scored": True}


@pytest.mark.parametrize(
    ("number", "stored"), [(2**63, "9223372036854775808"), (float("inf"), "inf"), (2**63 - 1, 2**63 - 1), (-0.5, -0.5), (7.0, 7)]
)
def test_a_number_that_json_cannot_carry_is_stored_as_text(number: float, stored: object) -> None:
    """The API server would round the one and refuse the other."""
    assert _normalised(details={"number": number}).details["number"] == stored
