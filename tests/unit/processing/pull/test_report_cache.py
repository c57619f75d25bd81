"""zenwatch/processing/pull/report_cache.py: what each report says, packed, and who says what."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.builders.findings import an_event
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.refs import ReportRef, Scope
from zenwatch.processing.pull.report_cache import ReportCache


def _events(*packages: str, **changes: Any) -> list[Event]:
    return [an_event(details={"vulnID": "CVE-2026-1", "packages": [package]}, **changes) for package in packages]


def _merged(cache: ReportCache, *events: Event) -> list[tuple[Event, int]]:
    return [(event, len(holders)) for _, event, holders in cache.merged([event.name for event in events])]


def test_what_a_report_says_comes_back_as_it_was() -> None:
    """Packing and unpacking changes nothing."""
    cache, event = ReportCache(), an_event(references=("https://example.test/ä",), details={"cvss": 7.5, "packages": ["a"]})

    assert cache.replace(ReportRef("r", "ns", "a"), "1", [event]) == {event.name}

    assert _merged(cache, event) == [(event, 1)]
    assert (cache.version_of(ReportRef("r", "ns", "a")), len(cache), event.name in cache) == ("1", 1, True)


def test_a_name_held_by_several_reports_is_counted_and_united() -> None:
    """One record, however many containers hold it."""
    cache = ReportCache()
    for report, package in ((ReportRef("r", "ns", "a"), "x"), (ReportRef("r", "ns", "b"), "y"), (ReportRef("r", "ns", "c"), "z")):
        cache.replace(report, "1", _events(package))

    [(event, count)] = _merged(cache, an_event())

    assert count == 3
    assert event is not None
    assert event.details["packages"] == ["x", "y", "z"]


def test_a_report_that_says_something_twice_holds_it_once() -> None:
    """The count is of reports, not of entries: byte-identical entries occur."""
    cache = ReportCache()
    cache.replace(ReportRef("r", "ns", "a"), "1", _events("x", "y", "x"))

    [(event, count)] = _merged(cache, an_event())

    assert count == 1
    assert event is not None
    assert event.details["packages"] == ["x", "y"]


def test_forgetting_takes_one_report_away() -> None:
    """The others still hold what they say, down to the last."""
    cache = ReportCache()
    for report, package in ((ReportRef("r", "ns", "a"), "x"), (ReportRef("r", "ns", "b"), "y"), (ReportRef("r", "ns", "c"), "z")):
        cache.replace(report, "1", _events(package))

    counts = []
    for report in (ReportRef("r", "ns", "b"), ReportRef("r", "ns", "a"), ReportRef("r", "ns", "c")):
        assert cache.forget(report) == {an_event().name}
        counts += [count for _, count in _merged(cache, an_event())]

    assert counts == [2, 1]
    assert an_event().name not in cache
    assert len(cache) == 0


def test_forgetting_what_is_not_held_changes_nothing() -> None:
    """Nothing is touched, so nothing is looked at again."""
    assert ReportCache().forget(ReportRef("r", "ns", "a")) == set()


def test_replacing_touches_old_and_new_names() -> None:
    """What a report no longer says has to be looked at too."""
    cache, one, other = ReportCache(), an_event(key="one"), an_event(key="other")
    cache.replace(ReportRef("r", "ns", "a"), "1", [one])

    assert cache.replace(ReportRef("r", "ns", "a"), "2", [other]) == {one.name, other.name}
    assert [(name, holders) for name, _, holders in cache.merged([one.name, other.name])] == [(other.name, (ReportRef("r", "ns", "a"),))]


def test_a_report_that_cannot_be_packed_leaves_the_old_one() -> None:
    """Unknown is never empty: what was held stays held, and under its old version."""
    cache = ReportCache()
    cache.replace(ReportRef("r", "ns", "a"), "1", [an_event()])

    with pytest.raises(TypeError):
        cache.replace(ReportRef("r", "ns", "a"), "2", [an_event(details={"x": object()})])

    assert cache.version_of(ReportRef("r", "ns", "a")) == "1"
    assert an_event().name in cache


def test_reports_are_listed_by_their_kind() -> None:
    """A kind whose name begins like another's is another kind."""
    cache = ReportCache()
    for report in (
        ReportRef("a.example.com", "ns", "x"),
        ReportRef("a.example.community", "ns", "x"),
        ReportRef("a.example.com", "", "cluster-wide"),
    ):
        cache.replace(report, "1", [])

    assert sorted(cache.reports_in(Scope("a.example.com"))) == [
        ReportRef("a.example.com", "", "cluster-wide"),
        ReportRef("a.example.com", "ns", "x"),
    ]


@pytest.mark.parametrize("change", ["replaced", "forgotten", "moved"])
def test_reports_may_change_while_the_merged_events_are_taken(change: str) -> None:
    """The consumer awaits the writer in between. What changed is told as it is now, or left for the next call; never as it was."""
    cache = ReportCache()
    first, second = an_event(key="first"), an_event(key="second")
    cache.replace(ReportRef("r", "ns", "a"), "1", [first, second])
    told = cache.merged([first.name, second.name])
    assert next(told) == (first.name, first, (ReportRef("r", "ns", "a"),))
    worse = replace(second, severity=Severity.CRITICAL)

    if change == "replaced":
        cache.replace(ReportRef("r", "ns", "a"), "2", [worse])
    else:
        cache.forget(ReportRef("r", "ns", "a"))
    if change == "moved":
        cache.replace(ReportRef("r", "ns", "b"), "1", [worse])

    assert list(told) == ([(second.name, worse, (ReportRef("r", "ns", "a"),))] if change == "replaced" else [])


def test_a_report_that_joins_while_the_merged_events_are_taken_is_counted() -> None:
    """The count belongs to the events that were merged."""
    cache = ReportCache()
    first, second = an_event(key="first"), an_event(key="second")
    cache.replace(ReportRef("r", "ns", "a"), "1", [first, second])
    told = cache.merged([first.name, second.name])
    next(told)

    cache.replace(ReportRef("r", "ns", "b"), "1", [second])

    assert [(name, len(holders)) for name, _, holders in told] == [(second.name, 2)]


def test_what_was_left_out_is_found_again_by_name() -> None:
    """It is still reported, only not stored."""
    cache, kept, below, gone = ReportCache(), an_event(key="kept"), an_event(key="below"), an_event(key="gone")
    cache.replace(ReportRef("r", "ns", "a"), "1", [kept], filtered=[below.name])

    assert cache.filtered_among([below.name, gone.name, kept.name]) == {below.name}
    cache.forget(ReportRef("r", "ns", "a"))
    assert cache.filtered_among([below.name]) == set()


@pytest.mark.parametrize(
    ("held", "subject", "is_spoken_of"),
    [
        (ReportRef("r", "ns", "same"), Resource(kind="Pod", name="nginx"), True),
        (ReportRef("r", "ns", "other"), Resource(kind="Pod", name="nginx"), True),
        (ReportRef("r", "ns", "same"), Resource(kind="Pod", name="another"), False),
        (ReportRef("r", "ns", "same"), None, True),
        (ReportRef("r", "ns", "other"), None, False),
        (ReportRef("r", "ns", "other"), Resource(), True),
        (ReportRef("another-kind", "ns", "same"), Resource(kind="Pod", name="nginx"), False),
    ],
    ids=["it", "another report of it", "about another one now", "it, empty", "another one, empty", "one of a set", "another kind"],
)
def test_a_resource_is_spoken_of_as_long_as_a_report_of_the_kind_is_about_it(
    held: ReportRef, subject: Resource | None, *, is_spoken_of: bool
) -> None:
    """Then what is not said of it any more was fixed, and is not just not reported."""
    cache = ReportCache()
    cache.replace(held, "1", [], subjects=[subject] if subject is not None else [])

    assert cache.covers(ReportRef("r", "ns", "same"), Resource(kind="Pod", name="nginx")) is is_spoken_of
    cache.forget(held)
    assert not cache.covers(ReportRef("r", "ns", "same"), Resource(kind="Pod", name="nginx"))
