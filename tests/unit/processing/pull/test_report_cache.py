"""zenwatch/processing/pull/report_cache.py: what each report says, packed, and who says what."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders.findings import an_event
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.processing.pull.report_cache import ReportCache


def _events(*packages: str, **changes: Any) -> list[Event]:
    return [an_event(details={"vulnID": "CVE-2026-1", "packages": [package]}, **changes) for package in packages]


def _merged(holdings: ReportCache, *events: Event) -> list[tuple[Event, int]]:
    return [(event, len(holders)) for _, event, holders in holdings.merged([event.name for event in events])]


def test_what_a_report_says_comes_back_as_it_was() -> None:
    """Packing and unpacking changes nothing."""
    holdings, event = ReportCache(), an_event(references=("https://example.test/ä",), details={"cvss": 7.5, "packages": ["a"]})

    assert holdings.replace("r/ns/a", "1", [event]) == {event.name}

    assert _merged(holdings, event) == [(event, 1)]
    assert (holdings.version_of("r/ns/a"), len(holdings), event.name in holdings) == ("1", 1, True)


def test_a_name_held_by_several_reports_is_counted_and_united() -> None:
    """One record, however many containers hold it."""
    holdings = ReportCache()
    for report, package in (("r/ns/a", "x"), ("r/ns/b", "y"), ("r/ns/c", "z")):
        holdings.replace(report, "1", _events(package))

    [(event, count)] = _merged(holdings, an_event())

    assert count == 3
    assert event is not None
    assert event.details["packages"] == ["x", "y", "z"]


def test_a_report_that_says_something_twice_holds_it_once() -> None:
    """The count is of reports, not of entries: byte-identical entries occur."""
    holdings = ReportCache()
    holdings.replace("r/ns/a", "1", _events("x", "y", "x"))

    [(event, count)] = _merged(holdings, an_event())

    assert count == 1
    assert event is not None
    assert event.details["packages"] == ["x", "y"]


def test_forgetting_takes_one_report_away() -> None:
    """The others still hold what they say, down to the last."""
    holdings = ReportCache()
    for report, package in (("r/ns/a", "x"), ("r/ns/b", "y"), ("r/ns/c", "z")):
        holdings.replace(report, "1", _events(package))

    counts = []
    for report in ("r/ns/b", "r/ns/a", "r/ns/c"):
        assert holdings.forget(report) == {an_event().name}
        counts += [count for _, count in _merged(holdings, an_event())]

    assert counts == [2, 1]
    assert an_event().name not in holdings
    assert len(holdings) == 0


def test_forgetting_what_is_not_held_changes_nothing() -> None:
    """Nothing is touched, so nothing is looked at again."""
    assert ReportCache().forget("r/ns/a") == set()


def test_replacing_touches_old_and_new_names() -> None:
    """What a report no longer says has to be looked at too."""
    holdings, one, other = ReportCache(), an_event(key="one"), an_event(key="other")
    holdings.replace("r/ns/a", "1", [one])

    assert holdings.replace("r/ns/a", "2", [other]) == {one.name, other.name}
    assert [(name, holders) for name, _, holders in holdings.merged([one.name, other.name])] == [(other.name, ("r/ns/a",))]


def test_a_report_that_cannot_be_packed_leaves_the_old_one() -> None:
    """Unknown is never empty: what was held stays held, and under its old version."""
    holdings = ReportCache()
    holdings.replace("r/ns/a", "1", [an_event()])

    with pytest.raises(TypeError):
        holdings.replace("r/ns/a", "2", [an_event(details={"x": object()})])

    assert holdings.version_of("r/ns/a") == "1"
    assert an_event().name in holdings


def test_reports_are_listed_by_their_kind() -> None:
    """A kind whose name begins like another's is another kind."""
    holdings = ReportCache()
    for report in ("a.example.com/ns/x", "a.example.community/ns/x", "a.example.com//cluster-wide"):
        holdings.replace(report, "1", [])

    assert sorted(holdings.reports_of("a.example.com")) == ["a.example.com//cluster-wide", "a.example.com/ns/x"]


@pytest.mark.parametrize("change", ["replaced", "forgotten", "moved"])
def test_reports_may_change_while_the_merged_events_are_taken(change: str) -> None:
    """The consumer awaits the writer in between. What changed is told as it is now, or left for the next call; never as it was."""
    holdings = ReportCache()
    first, second = an_event(key="first"), an_event(key="second")
    holdings.replace("r/ns/a", "1", [first, second])
    told = holdings.merged([first.name, second.name])
    assert next(told) == (first.name, first, ("r/ns/a",))
    worse = replace(second, severity=Severity.CRITICAL)

    if change == "replaced":
        holdings.replace("r/ns/a", "2", [worse])
    else:
        holdings.forget("r/ns/a")
    if change == "moved":
        holdings.replace("r/ns/b", "1", [worse])

    assert list(told) == ([(second.name, worse, ("r/ns/a",))] if change == "replaced" else [])


def test_a_report_that_joins_while_the_merged_events_are_taken_is_counted() -> None:
    """The count belongs to the events that were merged."""
    holdings = ReportCache()
    first, second = an_event(key="first"), an_event(key="second")
    holdings.replace("r/ns/a", "1", [first, second])
    told = holdings.merged([first.name, second.name])
    next(told)

    holdings.replace("r/ns/b", "1", [second])

    assert [(name, len(holders)) for name, _, holders in told] == [(second.name, 2)]


def test_what_was_left_out_is_found_again_by_name() -> None:
    """It is still reported, only not stored."""
    holdings, kept, below, gone = ReportCache(), an_event(key="kept"), an_event(key="below"), an_event(key="gone")
    holdings.replace("r/ns/a", "1", [kept], left_out=[below.name])

    assert holdings.filtered_among([below.name, gone.name, kept.name]) == {below.name}
    holdings.forget("r/ns/a")
    assert holdings.filtered_among([below.name]) == set()


@pytest.mark.parametrize(
    ("held", "subject", "is_spoken_of"),
    [
        ("r/ns/same", Resource(kind="Pod", name="nginx"), True),
        ("r/ns/other", Resource(kind="Pod", name="nginx"), True),
        ("r/ns/same", Resource(kind="Pod", name="another"), False),
        ("r/ns/same", None, True),
        ("r/ns/other", None, False),
        ("r/ns/other", Resource(), True),
        ("another-kind/ns/same", Resource(kind="Pod", name="nginx"), False),
    ],
    ids=["it", "another report of it", "about another one now", "it, empty", "another one, empty", "one of a set", "another kind"],
)
def test_a_resource_is_spoken_of_as_long_as_a_report_of_the_kind_is_about_it(
    held: str, subject: Resource | None, *, is_spoken_of: bool
) -> None:
    """Then what is not said of it any more was fixed, and is not just not reported."""
    holdings = ReportCache()
    holdings.replace(held, "1", [], subjects=[subject] if subject is not None else [])

    assert holdings.speaks_of("r/ns/same", Resource(kind="Pod", name="nginx")) is is_spoken_of
    holdings.forget(held)
    assert not holdings.speaks_of("r/ns/same", Resource(kind="Pod", name="nginx"))
