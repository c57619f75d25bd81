"""zenwatch/processing/pull/lifecycle.py: create, write again, or leave."""

from dataclasses import replace

import pytest

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from zenwatch.model.record import Phase, Reason, Status, Stored, spec_hash
from zenwatch.model.write import Upsert
from zenwatch.processing.pull.lifecycle import decide

SAYS_IT = a_stored(spec_hash=spec_hash(an_event()))


def test_what_is_stored_and_counted_the_same_is_left() -> None:
    """A round over an unchanged cluster writes nothing."""
    assert decide(an_event(), count=1, stored=SAYS_IT) is None


@pytest.mark.parametrize(
    ("stored", "count"),
    [(None, 1), (a_stored(spec_hash="other"), 1), (a_stored(spec_hash=""), 1), (SAYS_IT, 2)],
    ids=["not stored", "says something else", "does not tell what it says", "counted differently"],
)
def test_whatever_differs_is_written(stored: Stored | None, count: int) -> None:
    """The write carries what is there, so that the writer knows whether to create or to update."""
    event = an_event()

    assert decide(event, count=count, stored=stored) == Upsert(event, spec_hash(event), Status(count=count), stored)


def test_what_returns_is_open_again_and_says_so() -> None:
    """Also where nothing else changed."""
    resolved = replace(SAYS_IT, phase=Phase.RESOLVED, reopened=2)

    write = decide(an_event(), count=1, stored=resolved)

    assert write is not None
    assert write.status == Status(Phase.OPEN, 1, 3, Reason.REOPENED)


def test_what_is_covered_by_an_exception_stays_so() -> None:
    """It is still there; who suppressed it knows that."""
    suppressed = replace(SAYS_IT, phase=Phase.SUPPRESSED)

    assert decide(an_event(), count=1, stored=suppressed) is None
    write = decide(an_event(), count=2, stored=suppressed)
    assert write is not None
    assert write.status == Status(Phase.SUPPRESSED, 2)


@pytest.mark.parametrize("lost", [0, 1], ids=["written by somebody else", "our own, with a lost answer"])
def test_a_reopening_is_counted_once_however_often_it_is_tried(lost: int) -> None:
    """The status is absolute, and never below what is stored."""
    resolved = replace(SAYS_IT, phase=Phase.RESOLVED, reopened=1)
    write = decide(an_event(), count=1, stored=resolved)
    assert write is not None

    met = replace(resolved, phase=Phase.OPEN, reopened=2) if lost else replace(resolved, reopened=1)

    assert write.status.rebased_on(met).reopened == 2
    assert write.status.rebased_on(met).matches(met) is bool(lost)
