"""What every contract.Destination promises. The subclass gives the fixture `harness`."""

from collections.abc import Sequence
from typing import Protocol

import pytest

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from zenwatch.contract import Destination, RecordChange
from zenwatch.errors import Transient
from zenwatch.model.finding import Severity


class DestinationHarness(Protocol):
    """can_fail: whether deliver() may meet a passing failure; otherwise it only queues."""

    destination: Destination
    can_fail: bool

    async def arrived(self) -> Sequence[str]:
        """The names of the records that are there, in the order they came."""
        ...

    def fail_once(self) -> None:
        """The next delivery meets a passing failure."""
        ...


class DestinationSuite:
    async def test_what_was_delivered_is_there(self, harness: DestinationHarness) -> None:
        """In the order of the feed."""
        await harness.destination.deliver([a_change("a", 1), a_change("b", 2)])

        assert list(await harness.arrived()) == ["a", "b"]

    async def test_nothing_is_delivered_of_nothing(self, harness: DestinationHarness) -> None:
        """An empty batch is no error."""
        await harness.destination.deliver([])

        assert list(await harness.arrived()) == []

    async def test_the_same_batch_may_come_again_after_a_passing_failure(self, harness: DestinationHarness) -> None:
        """At least once, and in order."""
        if not harness.can_fail:
            pytest.skip("it only queues: its own task meets the failures")
        harness.fail_once()
        with pytest.raises(Transient):
            await harness.destination.deliver([a_change("a", 1), a_change("b", 2)])

        await harness.destination.deliver([a_change("a", 1), a_change("b", 2)])

        assert list(await harness.arrived())[-2:] == ["a", "b"]


def a_change(name: str, seq: int) -> RecordChange:
    """A new critical record."""
    return RecordChange(seq, None, a_stored(name=name, version=seq), an_event(name=name, severity=Severity.CRITICAL))
