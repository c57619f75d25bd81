"""zenwatch/deliver/dispatcher.py: from the change feed to one destination."""

from structlog.testing import capture_logs

from tests.support.builders.records import a_stored
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.destination import ListDestination
from tests.support.tasks import until
from zenwatch.changes.feed import MemoryFeed
from zenwatch.deliver.dispatcher import Dispatcher
from zenwatch.errors import Permanent, Transient
from zenwatch.runtime.supervise import Supervisor


class Delivery:
    def __init__(self, *, capacity_changes: int = 100) -> None:
        self.feed, self.destination = MemoryFeed(capacity_changes=capacity_changes), ListDestination()
        self.dispatcher = Dispatcher("list", self.feed, self.destination, Supervisor(), clock=FakeClock(skips_waits=True))

    def append(self, *names: str) -> None:
        for name in names:
            self.feed.append(None, a_stored(name=name), None)

    def names(self) -> list[str]:
        return [change.after.name for change in self.destination.delivered if change.after is not None]


async def test_what_a_destination_could_not_take_is_delivered_again() -> None:
    """Nothing is skipped, and the order stays."""
    delivery = Delivery()
    delivery.destination.fail_next(Transient("away"), Transient("away"))
    await delivery.dispatcher.start()
    delivery.append("a", "b")
    await until(lambda: delivery.names() == ["a", "b"])
    delivery.append("c")
    await until(lambda: delivery.names() == ["a", "b", "c"])
    await delivery.dispatcher.stop()


async def test_what_a_destination_refuses_for_good_does_not_block_what_follows() -> None:
    """The log names how much was refused."""
    delivery = Delivery()
    delivery.destination.fail_next(Permanent("never"))
    with capture_logs() as lines:
        await delivery.dispatcher.start()
        delivery.append("a")
        await until(lambda: any(line["event"] == "changes_not_delivered" for line in lines))
        delivery.append("b")
        await until(lambda: delivery.names() == ["b"])
        await delivery.dispatcher.stop()


async def test_changes_that_left_the_feed_are_logged() -> None:
    """A destination that is too slow is no reason to hold up the writer, but somebody has to know."""
    delivery = Delivery(capacity_changes=2)
    await delivery.dispatcher.start()
    delivery.append("a", "b", "c", "d")
    with capture_logs() as lines:
        await until(lambda: delivery.names() == ["c", "d"])
        await delivery.dispatcher.stop()

    assert [(line["event"], line["count"]) for line in lines] == [("changes_missed", 2)]


async def test_it_starts_again_ten_times_and_delivers_what_comes_while_it_runs() -> None:
    """Leadership comes and goes."""
    delivery = Delivery()
    for number in range(10):
        await delivery.dispatcher.start()
        delivery.append(f"r{number}")
        await until(lambda number=number: len(delivery.names()) == number + 1)  # type: ignore[misc]
        await delivery.dispatcher.stop()

    assert delivery.names() == [f"r{number}" for number in range(10)]
