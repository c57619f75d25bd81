"""zenwatch/transform/group.py: what each report says, and one event of all that say the same."""

from dataclasses import replace
from itertools import permutations
from typing import Any

import orjson
import pytest

from tests.fakes.crd import violations
from tests.fakes.findings import an_event
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.record import object_of, spec_of
from zenwatch.transform.group import DETAILS_BYTES, LIST_ENTRIES, Holdings, merge

KIB_16 = 16 * 1024
SMILE = "\U0001f600"


def _events(*packages: str, **changes: Any) -> list[Event]:
    return [an_event(details={"vulnID": "CVE-2026-1", "packages": [package]}, **changes) for package in packages]


# ---------------------------------------------------------------- merge


def test_the_worst_event_leads() -> None:
    """Severity first, then the score; its scalars and its title are the merged event's."""
    low, high, higher = (
        an_event(severity=severity, score=score, title=title, details={"cvss": score})
        for severity, score, title in ((Severity.LOW, 39, "low"), (Severity.HIGH, 71, "high"), (Severity.HIGH, 80, "higher"))
    )

    merged = merge([low, high, higher])

    assert (merged.severity, merged.score, merged.title, merged.details) == (Severity.HIGH, 80, "higher", {"cvss": 80})


def test_lists_are_united_and_sorted() -> None:
    """records.md: two findings of one key are one record, its lists are united."""
    assert merge(_events("b", "a", "b")).details["packages"] == ["a", "b"]


def test_a_list_that_only_a_lesser_event_has_is_kept() -> None:
    """The leader need not know of everything."""
    merged = merge([an_event(score=80, details={"vulnID": "x"}), an_event(score=71, details={"vulnID": "x", "packages": ["a"]})])

    assert merged.details == {"vulnID": "x", "packages": ["a"]}


def test_the_first_detection_counts() -> None:
    """Of two times the earlier one is when it was found."""
    assert merge([an_event(detected_at="2026-02-01T00:00:00Z"), an_event()]).detected_at == "2026-01-01T10:00:00Z"


def test_remediations_are_joined_each_once_and_whole() -> None:
    """What does not fit is left out, not cut in the middle of a version."""
    sentences = [f"Upgrade a to {number} {'x' * 400}" for number in (1, 2, 3)]
    merged = merge([an_event(remediation=sentence, details={"n": str(n)}) for n, sentence in enumerate([*sentences, sentences[0]])])

    assert merged.remediation == f"{sentences[0]}; {sentences[1]}"


def test_ten_references_are_kept() -> None:
    """The CRD takes no more."""
    events = [an_event(references=tuple(f"https://example.test/{n}/{m}" for m in range(6)), details={"n": str(n)}) for n in range(2)]

    assert len(merge(events).references) == 10


MIXED = [
    an_event(severity=Severity.HIGH, score=80, details={"vulnID": "x", "packages": ["a"]}, remediation="one"),
    an_event(severity=Severity.HIGH, score=80, details={"vulnID": "x", "packages": ["b"]}, remediation="two"),
    an_event(severity=Severity.MEDIUM, score=60, details={"vulnID": "x", "packages": ["c"]}, detected_at="2025-01-01T00:00:00Z"),
    an_event(severity=Severity.MEDIUM, score=60, details={"vulnID": "x", "packages": ["a"]}),
]
EQUAL_DETAILS = [
    an_event(title="one", references=("https://example.test/1",)),
    an_event(title="two", references=("https://example.test/2",)),
    an_event(title="two", remediation="Upgrade"),
    an_event(title="one", remediation="Remove"),
]


@pytest.mark.parametrize("events", [MIXED, EQUAL_DETAILS], ids=["different details", "equal details"])
def test_the_order_of_events_makes_no_difference(events: list[Event]) -> None:
    """Otherwise two replicas, or two scans, would rewrite each other's record for ever."""
    results = {orjson.dumps(merge(order)) for order in permutations(events)}

    assert len(results) == 1


def test_merging_is_done_once_and_for_all() -> None:
    """A single event comes out as one of several equal ones does."""
    event = an_event(details={"packages": ["b", "a"]})

    assert merge([event]) == merge([event, event])


# ---------------------------------------------------------------- bounds


def test_lists_are_cut_at_20_with_a_count_of_the_rest() -> None:
    """records.md: packagesOmitted: 7."""
    merged = merge(_events(*(f"package-{number:02}" for number in range(27))))

    assert merged.details["packages"] == [f"package-{number:02}" for number in range(20)]
    assert merged.details["packagesOmitted"] == 7


def test_a_list_of_20_is_whole() -> None:
    """Nothing is omitted, so nothing says so."""
    assert "packagesOmitted" not in merge(_events(*(str(number) for number in range(LIST_ENTRIES)))).details


def _worst_case(letter: str) -> Event:
    """Every field at the limit that normalise leaves it."""
    fields = ("vulnID", "package", "version", "fixedVersion", "image", "imageDigest", "container")
    return an_event(
        key=letter * 1024,
        cluster_id="c" * 63,
        title=letter * 256,
        remediation=letter * 1024,
        references=tuple(f"https://example.test/{number:02}".ljust(512, letter) for number in range(10)),
        resource=Resource(letter * 317, letter * 63, letter * 253, letter * 63),
        details=dict.fromkeys(fields, letter * 512) | {"packages": [letter * 509 + f"{number:03}" for number in range(300)]},
    )


@pytest.mark.parametrize("letter", ["x", "ä", SMILE, '"'], ids=["1 byte", "2 bytes", "4 bytes", "escaped"])
def test_details_stay_under_their_share(letter: str) -> None:
    """Bytes count, not characters: etcd and the API server's limits are in bytes."""
    details = merge([_worst_case(letter)]).details

    assert len(orjson.dumps(details)) <= DETAILS_BYTES
    assert len(details["packages"]) + details["packagesOmitted"] == 300  # type: ignore[arg-type,operator]


@pytest.mark.parametrize("letter", ["x", "ä", SMILE, '"'], ids=["1 byte", "2 bytes", "4 bytes", "escaped"])
def test_an_event_at_every_limit_is_one_that_the_crd_takes(letter: str) -> None:
    """The limits here and in the CRD are the same ones."""
    assert violations(spec_of(merge([_worst_case(letter)]))) == []


@pytest.mark.parametrize("letter", ["x", "ä", SMILE, '"'], ids=["1 byte", "2 bytes", "4 bytes", "escaped"])
def test_the_whole_object_stays_under_16_kib(letter: str) -> None:
    """A record at every limit still is a small object."""
    whole = object_of(merge([_worst_case(letter)]), namespace="n" * 63, hash_of_spec="0" * 16)

    assert len(orjson.dumps(whole)) < KIB_16


# ---------------------------------------------------------------- holdings


def _merged(holdings: Holdings, *events: Event) -> list[tuple[Event | None, int]]:
    return [(event, count) for _, event, count in holdings.merged([event.name for event in events])]


def test_what_a_report_says_comes_back_as_it_was() -> None:
    """Packing and unpacking changes nothing."""
    holdings, event = Holdings(), an_event(references=("https://example.test/ä",), details={"cvss": 7.5, "packages": ["a"]})

    assert holdings.replace("r/ns/a", "1", [event]) == {event.name}

    assert _merged(holdings, event) == [(event, 1)]
    assert (holdings.version_of("r/ns/a"), len(holdings), event.name in holdings) == ("1", 1, True)


def test_a_name_held_by_several_reports_is_counted_and_united() -> None:
    """One record, however many containers hold it."""
    holdings = Holdings()
    for report, package in (("r/ns/a", "x"), ("r/ns/b", "y"), ("r/ns/c", "z")):
        holdings.replace(report, "1", _events(package))

    [(event, count)] = _merged(holdings, an_event())

    assert count == 3
    assert event is not None
    assert event.details["packages"] == ["x", "y", "z"]


def test_a_report_that_says_something_twice_holds_it_once() -> None:
    """The count is of reports, not of entries: byte-identical entries occur."""
    holdings = Holdings()
    holdings.replace("r/ns/a", "1", _events("x", "y", "x"))

    [(event, count)] = _merged(holdings, an_event())

    assert count == 1
    assert event is not None
    assert event.details["packages"] == ["x", "y"]


def test_forgetting_takes_one_report_away() -> None:
    """The others still hold what they say, down to the last."""
    holdings = Holdings()
    for report, package in (("r/ns/a", "x"), ("r/ns/b", "y"), ("r/ns/c", "z")):
        holdings.replace(report, "1", _events(package))

    counts = []
    for report in ("r/ns/b", "r/ns/a", "r/ns/c"):
        assert holdings.forget(report) == {an_event().name}
        counts += [count for _, count in _merged(holdings, an_event())]

    assert counts == [2, 1, 0]
    assert an_event().name not in holdings
    assert len(holdings) == 0


def test_forgetting_what_is_not_held_changes_nothing() -> None:
    """Nothing is touched, so nothing is looked at again."""
    assert Holdings().forget("r/ns/a") == set()


def test_replacing_touches_old_and_new_names() -> None:
    """What a report no longer says has to be looked at too."""
    holdings, one, other = Holdings(), an_event(key="one"), an_event(key="other")
    holdings.replace("r/ns/a", "1", [one])

    assert holdings.replace("r/ns/a", "2", [other]) == {one.name, other.name}
    assert sorted((name, count) for name, _, count in holdings.merged([one.name, other.name])) == sorted([(one.name, 0), (other.name, 1)])


def test_a_report_that_cannot_be_packed_leaves_the_old_one() -> None:
    """Unknown is never empty: what was held stays held, and under its old version."""
    holdings = Holdings()
    holdings.replace("r/ns/a", "1", [an_event()])

    with pytest.raises(TypeError):
        holdings.replace("r/ns/a", "2", [an_event(details={"x": object()})])

    assert holdings.version_of("r/ns/a") == "1"
    assert an_event().name in holdings


def test_reports_are_listed_by_their_kind() -> None:
    """A kind whose name begins like another's is another kind."""
    holdings = Holdings()
    for report in ("a.example.com/ns/x", "a.example.community/ns/x", "a.example.com//cluster-wide"):
        holdings.replace(report, "1", [])

    assert sorted(holdings.reports_of("a.example.com")) == ["a.example.com//cluster-wide", "a.example.com/ns/x"]


@pytest.mark.parametrize("change", ["replaced", "forgotten", "moved"])
def test_reports_may_change_while_the_merged_events_are_taken(change: str) -> None:
    """The consumer awaits the writer in between. What changed is told as it is now, or left for the next call; never as it was."""
    holdings = Holdings()
    first, second = an_event(key="first"), an_event(key="second")
    holdings.replace("r/ns/a", "1", [first, second])
    told = holdings.merged([first.name, second.name])
    assert next(told) == (first.name, first, 1)
    worse = replace(second, severity=Severity.CRITICAL)

    if change == "replaced":
        holdings.replace("r/ns/a", "2", [worse])
    else:
        holdings.forget("r/ns/a")
    if change == "moved":
        holdings.replace("r/ns/b", "1", [worse])

    assert list(told) == ([(second.name, worse, 1)] if change == "replaced" else [])


def test_a_report_that_joins_while_the_merged_events_are_taken_is_counted() -> None:
    """The count belongs to the events that were merged."""
    holdings = Holdings()
    first, second = an_event(key="first"), an_event(key="second")
    holdings.replace("r/ns/a", "1", [first, second])
    told = holdings.merged([first.name, second.name])
    next(told)

    holdings.replace("r/ns/b", "1", [second])

    assert [(name, count) for name, _, count in told] == [(second.name, 2)]
