"""zenwatch/model/timestamps.py: times as text and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from zenwatch.model.timestamps import format_rfc3339, parse_rfc3339, unix_secs

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_times_are_written_in_utc_to_the_second() -> None:
    """The CRD accepts only RFC 3339 that ends in Z."""
    east = timezone(timedelta(hours=5, minutes=30))

    assert format_rfc3339(datetime(2025, 11, 12, 10, 0, 0, 999_999, tzinfo=UTC)) == "2025-11-12T10:00:00Z"
    assert format_rfc3339(datetime(2025, 11, 12, 2, 0, tzinfo=east)) == "2025-11-11T20:30:00Z"


def test_a_year_has_four_digits() -> None:
    """0001-01-01 is Go's time that was never set; with another form the API server refuses the whole record."""
    assert format_rfc3339(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "text", ["2026-01-01T12:00:00Z", "2026-01-01T12:00:00.000000Z", "2026-01-01T13:00:00+01:00", "2026-01-01t12:00:00.000000000z"]
)
def test_a_time_is_read_in_utc(text: str) -> None:
    """With a Z, with fractions as in a Lease, with an offset, and in small letters, which the API server accepts."""
    moment = parse_rfc3339(text)

    assert moment == NOON
    assert moment.tzinfo is UTC
    assert unix_secs(text) == NOON.timestamp()


OUTSIDE_UTC = ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"]


@pytest.mark.parametrize("text", [None, 5, {}, "", "yesterday", "2026-01-01", "2026-01-01T12:00:00", *OUTSIDE_UTC, "2" * 100_000])
def test_what_is_no_time_is_none(text: object) -> None:
    """Nothing is raised, also for a time that the calendar of UTC does not have. A time without a zone could be any hour."""
    assert parse_rfc3339(text) is None
    if text is None or isinstance(text, str):
        assert unix_secs(text) == 0


def test_a_time_without_a_zone_is_utc_where_the_caller_says_so() -> None:
    """Tools that leave out the zone mean UTC; a time with a zone keeps it."""
    assert parse_rfc3339("2026-01-01T12:00:00", assume_utc=True) == NOON
    assert parse_rfc3339("2026-01-01T13:00:00+01:00", assume_utc=True) == NOON
