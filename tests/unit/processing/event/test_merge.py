"""zenwatch/processing/event/merge.py: what each report says, and one event of all that say the same."""

from itertools import permutations
from typing import Any

import orjson
import pytest

from tests.support.builders.findings import an_event
from tests.support.fakes.crd import violations
from zenwatch.kube.records import object_of
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.record import spec_of
from zenwatch.processing.event.merge import DETAILS_BYTES, LIST_ENTRIES, merge

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
    """docs/records.md, "Several findings of the same key": they become a single record, and its lists are united."""
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
    """docs/records.md, "Details": `packagesOmitted: 7`."""
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
