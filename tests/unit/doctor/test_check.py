"""zenwatch/doctor/check.py: lines, and what they mean together."""

from datetime import timedelta

import pytest

from tests.support.doctor_cluster import NOW
from zenwatch.doctor.check import Check, Level, exit_code, since


@pytest.mark.parametrize(
    ("levels", "code"),
    [
        ([], 0),
        ([Level.OK, Level.UNKNOWN], 0),
        ([Level.OK, Level.WARN, Level.UNKNOWN], 1),
        ([Level.WARN, Level.FAIL, Level.OK], 2),
    ],
)
def test_the_worst_line_makes_the_exit_code(levels: list[Level], code: int) -> None:
    """What could not be found out is neither well nor broken."""
    assert exit_code([Check("area", "title", level, "text") for level in levels]) == code


@pytest.mark.parametrize(
    ("secs", "said"),
    [
        (-5, "0 s ago"),
        (59.9, "59 s ago"),
        (60, "1 minute ago"),
        (7_199, "1 hour ago"),
        (86_400, "1 day ago"),
        (400_000, "4 days ago"),
    ],
)
def test_an_age_is_said_in_its_largest_unit(secs: float, said: str) -> None:
    """A clock that is a little behind makes no negative ages."""
    assert since(NOW - timedelta(seconds=secs), NOW) == said
