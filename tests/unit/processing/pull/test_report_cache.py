"""zenwatch/processing/pull/report_cache.py: what each report holds, packed, and which reports hold an event."""

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


def test_the_events_of_a_report_come_back_unchanged() -> None:
    """Packing and unpacking changes nothing."""
    cache, event = ReportCache(), an_event(references=("https://example.test/ä",), details={"cvss": 7.5, "packages": ["a"]})

    assert cache.replace(ReportRef("r", "ns", "a"), "1", [event]) == {event.name}

    assert _merged(cache, event) == [(event, 1)]
    assert (cache.version_of(ReportRef("r", "ns", "a")), len(cache), event.name in cache) == ("1", 1, True)


def test_a_name_held_by_several_reports_is_counted_and_united() -> None:
    """However many containers hold it, it is one record."""
    cache = ReportCache()
    for report, package in ((ReportRef("r", "ns", "a"), "x"), (ReportRef("r", "ns", "b"), "y"), (ReportRef("r", "ns", "c"), "z")):
        cache.replace(report, "1", _events(package))

    [(event, count)] = _merged(cache, an_event())

    assert count == 3
    assert event is not None
    assert event.details["packages"] == ["x", "y", "z"]


def test_an_event_that_a_report_holds_twice_is_counted_once() -> None:
    """Reports are counted, not entries: there are byte-identical entries."""
    cache = ReportCache()
    cache.replace(ReportRef("r", "ns", "a"), "1", _events("x", "y", "x"))

    [(event, count)] = _merged(cache, an_event())

    assert count == 1
    assert event is not None
    assert event.details["packages"] == ["x", "y"]


def test_forgetting_removes_one_report() -> None:
    """The others still hold their events, down to the last report."""
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


def test_forgetting_an_unknown_report_changes_nothing() -> None:
    """It returns no name, so no record is compared again."""
    assert ReportCache().forget(ReportRef("r", "ns", "a")) == set()


def test_replacing_a_report_returns_its_old_and_its_new_names() -> None:
    """A record whose finding was dropped has to be compared, too."""
    cache, one, other = ReportCache(), an_event(key="one"), an_event(key="other")
    cache.replace(ReportRef("r", "ns", "a"), "1", [one])

    assert cache.replace(ReportRef("r", "ns", "a"), "2", [other]) == {one.name, other.name}
    assert [(name, holders) for name, _, holders in cache.merged([one.name, other.name])] == [(other.name, (ReportRef("r", "ns", "a"),))]


def test_a_report_that_cannot_be_packed_leaves_the_old_one() -> None:
    """The events stay cached under the old version: unknown is never empty."""
    cache = ReportCache()
    cache.replace(ReportRef("r", "ns", "a"), "1", [an_event()])

    with pytest.raises(TypeError):
        cache.replace(ReportRef("r", "ns", "a"), "2", [an_event(details={"x": object()})])

    assert cache.version_of(ReportRef("r", "ns", "a")) == "1"
    assert an_event().name in cache


def test_reports_are_listed_by_their_kind() -> None:
    """A kind whose name begins like the name of another kind is another kind."""
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
def test_reports_may_change_while_the_merged_events_are_read(change: str) -> None:
    """The consumer awaits the writer in between. It receives a changed event as it is now, or with the next call; never as it was."""
    cache = ReportCache()
    first, second = an_event(key="first"), an_event(key="second")
    cache.replace(ReportRef("r", "ns", "a"), "1", [first, second])
    merged = cache.merged([first.name, second.name])
    assert next(merged) == (first.name, first, (ReportRef("r", "ns", "a"),))
    worse = replace(second, severity=Severity.CRITICAL)

    if change == "replaced":
        cache.replace(ReportRef("r", "ns", "a"), "2", [worse])
    else:
        cache.forget(ReportRef("r", "ns", "a"))
    if change == "moved":
        cache.replace(ReportRef("r", "ns", "b"), "1", [worse])

    assert list(merged) == ([(second.name, worse, (ReportRef("r", "ns", "a"),))] if change == "replaced" else [])


def test_a_report_that_comes_while_the_merged_events_are_read_is_counted() -> None:
    """The number of reports belongs to the events that were merged."""
    cache = ReportCache()
    first, second = an_event(key="first"), an_event(key="second")
    cache.replace(ReportRef("r", "ns", "a"), "1", [first, second])
    merged = cache.merged([first.name, second.name])
    next(merged)

    cache.replace(ReportRef("r", "ns", "b"), "1", [second])

    assert [(name, len(holders)) for name, _, holders in merged] == [(second.name, 2)]


def test_a_filtered_finding_is_found_by_its_name() -> None:
    """It is still reported, and only not stored."""
    cache, kept, below, gone = ReportCache(), an_event(key="kept"), an_event(key="below"), an_event(key="gone")
    cache.replace(ReportRef("r", "ns", "a"), "1", [kept], filtered=[below.name])

    assert cache.filtered_among([below.name, gone.name, kept.name]) == {below.name}
    cache.forget(ReportRef("r", "ns", "a"))
    assert cache.filtered_among([below.name]) == set()


@pytest.mark.parametrize(
    ("held", "subject", "is_covered"),
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
def test_a_resource_is_covered_as_long_as_a_report_of_the_kind_is_about_it(
    held: ReportRef, subject: Resource | None, *, is_covered: bool
) -> None:
    """A finding that such a report does not hold any more was fixed."""
    cache = ReportCache()
    cache.replace(held, "1", [], subjects=[subject] if subject is not None else [])

    assert cache.covers(ReportRef("r", "ns", "same"), Resource(kind="Pod", name="nginx")) is is_covered
    cache.forget(held)
    assert not cache.covers(ReportRef("r", "ns", "same"), Resource(kind="Pod", name="nginx"))
