"""zenwatch/doctor/check.py: the exit code of all checks, and how an age is written."""

from datetime import timedelta

import pytest

from tests.support.doctor_cluster import NOW
from zenwatch.doctor.check import Check, Level, age_text, exit_code


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ([], 0),
        ([Level.OK, Level.UNKNOWN], 0),
        ([Level.OK, Level.WARN, Level.UNKNOWN], 1),
        ([Level.WARN, Level.FAIL, Level.OK], 2),
    ],
)
def test_the_worst_check_makes_the_exit_code(levels: list[Level], code: int) -> None:
    """UNKNOWN changes nothing."""
    assert exit_code([Check("area", "title", level, "text") for level in levels]) == code


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (-5, "0 s ago"),
        (59.9, "59 s ago"),
        (60, "1 minute ago"),
        (7_199, "1 hour ago"),
        (86_400, "1 day ago"),
        (400_000, "4 days ago"),
    ],
)
def test_an_age_is_written_in_its_largest_unit(secs: float, text: str) -> None:
    """If a clock is a little behind, the age is 0, not negative."""
    assert age_text(NOW - timedelta(seconds=secs), NOW) == text
