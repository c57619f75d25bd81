"""zenwatch/model/event.py: names and times."""

from datetime import UTC, datetime, timedelta, timezone

import orjson

from tests.support.builders.findings import an_event
from zenwatch.model.event import Event, record_name, rfc3339


def test_a_record_is_named_by_what_it_says() -> None:
    """printf 'local\\ntrivy\\ndefault/Pod/nginx/CVE-2024-1234' | sha256sum, first 20 digits: to the letter, for ever."""
    name = record_name("trivy-vuln-", cluster_id="local", source="trivy", key="default/Pod/nginx/CVE-2024-1234")

    assert name == "trivy-vuln-7aca94e70369705c0a22"


def test_cluster_source_and_key_each_make_another_name() -> None:
    """The same finding in two clusters, or of two tools, is two records."""
    names = {
        record_name("x-", cluster_id=cluster_id, source=source, key=key)
        for cluster_id in ("local", "east")
        for source in ("trivy", "kyverno")
        for key in ("a", "b", "ä")
    }

    assert len(names) == 12


def test_times_are_written_in_utc_to_the_second() -> None:
    """The CRD takes nothing but RFC 3339 that ends in Z."""
    east = timezone(timedelta(hours=5, minutes=30))

    assert rfc3339(datetime(2025, 11, 12, 10, 0, 0, 999_999, tzinfo=UTC)) == "2025-11-12T10:00:00Z"
    assert rfc3339(datetime(2025, 11, 12, 2, 0, tzinfo=east)) == "2025-11-11T20:30:00Z"


def test_a_year_has_four_digits() -> None:
    """0001-01-01 is Go's time that was never set; with another form the API server refuses the whole record."""
    assert rfc3339(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"


def test_an_event_survives_json() -> None:
    """Reports are held as compressed JSON."""
    event = an_event(references=("https://example.test/1",), details={"cvss": 7.5, "fixed": True, "packages": ["ä", "b"], "vulnID": "x"})

    assert Event.from_json(orjson.loads(orjson.dumps(event))) == event
