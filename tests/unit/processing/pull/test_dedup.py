"""zenwatch/processing/pull/dedup.py: one write at a time for each record."""

from tests.support.builders.records import a_stored
from tests.support.fakes.store import MemoryStore
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.store.crd.mirror import StoredIndex


def test_a_name_in_flight_cannot_be_claimed_again() -> None:
    """Two writes of one record at a time would overtake each other."""
    dedup = Dedup(StoredIndex(MemoryStore()))

    assert dedup.claim("a")
    assert not dedup.claim("a")
    assert dedup.claim("b")


def test_settling_frees_the_name_and_tells_the_index() -> None:
    """What the store answered is known before the watch repeats it."""
    index = StoredIndex(MemoryStore())
    dedup, stored = Dedup(index), a_stored()
    dedup.claim(stored.name)

    dedup.settle(stored.name, stored)

    assert index.get(stored.name) == stored
    assert dedup.claim(stored.name)


def test_a_write_without_an_answer_teaches_nothing() -> None:
    """If we cannot know, we do nothing; but the name is free for the next try."""
    index = StoredIndex(MemoryStore())
    dedup = Dedup(index)
    dedup.claim("a")

    dedup.settle("a", None)

    assert index.get("a") is None
    assert dedup.claim("a")
