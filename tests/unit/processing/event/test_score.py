"""zenwatch/processing/event/score.py: one number over all sources."""

from itertools import pairwise

import pytest

from zenwatch.model.finding import Severity
from zenwatch.processing.event.score import __doc__ as docs
from zenwatch.processing.event.score import score

TENTHS = [tenths / 10 for tenths in range(101)]


def test_the_table_in_the_docs_is_true() -> None:
    """People sort by it and quote it."""
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in (docs or "").splitlines() if row.startswith("| ")][1:]
    documented = {Severity(severity): (band, int(plain), int(most)) for severity, band, plain, most in rows}

    assert documented == {
        severity: (
            f"{score(severity, tool_score=0.0, has_fix=False)}-{score(severity, tool_score=10.0, has_fix=True)}",
            score(severity, tool_score=None, has_fix=False),
            score(severity, tool_score=10.0, has_fix=True),
        )
        for severity in Severity
    }


def test_no_two_bands_touch() -> None:
    """A HIGH is never above a CRITICAL, whatever its CVSS number says."""
    reached = [{score(severity, tool_score=tenth, has_fix=fix) for tenth in TENTHS for fix in (True, False)} for severity in Severity]

    for worse, better in pairwise(reached):
        assert min(worse) > max(better)


def test_the_tools_score_and_a_fix_only_raise_it() -> None:
    """Within a severity, what is worse or can be mended today comes first."""
    for severity in Severity:
        for fix in (True, False):
            scores = [score(severity, tool_score=tenth, has_fix=fix) for tenth in TENTHS]
            assert scores == sorted(scores)
        assert all(score(severity, tool_score=tenth, has_fix=True) >= score(severity, tool_score=tenth, has_fix=False) for tenth in TENTHS)


@pytest.mark.parametrize(("outside", "nearer"), [(-3.0, 0.0), (11.0, 10.0), (float("inf"), 10.0)])
def test_a_score_outside_the_scale_counts_as_the_nearer_end(outside: float, nearer: float) -> None:
    """Other scales go to 100; a band is never left for it."""
    assert score(Severity.HIGH, tool_score=outside, has_fix=False) == score(Severity.HIGH, tool_score=nearer, has_fix=False)
