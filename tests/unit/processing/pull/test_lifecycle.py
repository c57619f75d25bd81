"""zenwatch/processing/pull/lifecycle.py: create a record, write it again, or leave it."""

from dataclasses import replace

import pytest

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from zenwatch.model.record import Phase, Reason, Status, Stored, spec_hash
from zenwatch.model.write import Upsert
from zenwatch.processing.pull.lifecycle import decide

UP_TO_DATE = a_stored(spec_hash=spec_hash(an_event()))


def test_a_record_that_agrees_with_its_finding_is_left() -> None:
    """Settling an unchanged cluster writes nothing."""
    assert decide(an_event(), count=1, stored=UP_TO_DATE) is None


@pytest.mark.parametrize(
    ("stored", "count"),
    [(None, 1), (a_stored(spec_hash="other"), 1), (a_stored(spec_hash=""), 1), (UP_TO_DATE, 2)],
    ids=["not stored", "another spec", "no hash of the spec", "another count"],
)
def test_whatever_differs_is_written(stored: Stored | None, count: int) -> None:
    """The request holds the stored record, so that the writer knows whether to create or to update."""
    event = an_event()

    assert decide(event, count=count, stored=stored) == Upsert(event, spec_hash(event), Status(count=count), stored)


def test_a_finding_that_returns_reopens_its_record() -> None:
    """Also if nothing else changed."""
    resolved = replace(UP_TO_DATE, phase=Phase.RESOLVED, reopened=2)

    write = decide(an_event(), count=1, stored=resolved)

    assert write is not None
    assert write.status == Status(Phase.OPEN, 1, 3, Reason.REOPENED)


def test_a_suppressed_record_stays_suppressed() -> None:
    """Whoever suppressed it knows that the finding is still there."""
    suppressed = replace(UP_TO_DATE, phase=Phase.SUPPRESSED)

    assert decide(an_event(), count=1, stored=suppressed) is None
    write = decide(an_event(), count=2, stored=suppressed)
    assert write is not None
    assert write.status == Status(Phase.SUPPRESSED, 2)


@pytest.mark.parametrize("lost", [0, 1], ids=["written by somebody else", "written by us, with a lost answer"])
def test_a_reopening_is_counted_once_however_often_it_is_tried(lost: int) -> None:
    """The status is absolute, and never below what is stored."""
    resolved = replace(UP_TO_DATE, phase=Phase.RESOLVED, reopened=1)
    write = decide(an_event(), count=1, stored=resolved)
    assert write is not None

    met = replace(resolved, phase=Phase.OPEN, reopened=2) if lost else replace(resolved, reopened=1)

    assert write.status.rebased_on(met).reopened == 2
    assert write.status.rebased_on(met).matches(met) is bool(lost)
