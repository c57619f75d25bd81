"""What every contract.Destination promises. The subclass gives the fixture `harness`, with room for three records."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pytest

from zenwatch.contract import Destination
from zenwatch.errors import Permanent, Transient


class DestinationHarness(Protocol):
    destination: Destination

    def arrived(self) -> Sequence[Mapping[str, Any]]:
        """What is safe there, in the order it came."""
        ...

    def fail_once(self) -> None:
        """The next delivery meets a passing failure."""
        ...


class DestinationSuite:
    async def test_what_was_delivered_is_there_when_deliver_returns(self, harness: DestinationHarness) -> None:
        """Whoever called may forget the records."""
        await harness.destination.deliver([{"name": "a"}, {"name": "b"}])

        assert list(harness.arrived()) == [{"name": "a"}, {"name": "b"}]

    async def test_the_same_batch_may_come_again_after_a_passing_failure(self, harness: DestinationHarness) -> None:
        """At least once, and in order."""
        harness.fail_once()
        with pytest.raises(Transient):
            await harness.destination.deliver([{"name": "a"}, {"name": "b"}])

        await harness.destination.deliver([{"name": "a"}, {"name": "b"}])

        names = [record["name"] for record in harness.arrived()]
        assert names[-2:] == ["a", "b"]

    async def test_what_can_never_be_delivered_is_permanent(self, harness: DestinationHarness) -> None:
        """It goes to dead letters instead of blocking what follows."""
        with pytest.raises(Permanent):
            await harness.destination.deliver([{"name": str(number)} for number in range(4)])

        await harness.destination.deliver([{"name": "a"}])
        assert harness.arrived()[-1] == {"name": "a"}
