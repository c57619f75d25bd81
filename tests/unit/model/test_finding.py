"""zenwatch/model/finding.py: the one severity scale."""

from zenwatch.model.finding import Severity


def test_severities_are_ranked_from_the_worst() -> None:
    """Sorting by rank puts the worst first."""
    assert sorted(Severity, key=lambda severity: severity.rank) == ["CRITICAL", "HIGH", "MEDIUM", "LOW", "INFO"]


def test_a_severity_is_at_least_itself_and_what_is_below() -> None:
    """The user's limit is inclusive."""
    assert [severity.is_at_least(Severity.MEDIUM) for severity in Severity] == [True, True, True, False, False]
