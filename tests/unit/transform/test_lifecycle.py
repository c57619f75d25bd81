"""zenwatch/transform/lifecycle.py: create, write again, or leave."""

import pytest

from tests.contract.index_suite import a_stored
from tests.fakes.findings import an_event
from zenwatch.model.envelope import Write
from zenwatch.model.record import Stored, spec_hash
from zenwatch.transform.lifecycle import decide

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

    assert decide(event, count=count, stored=stored) == Write(event, spec_hash(event), count, stored)
