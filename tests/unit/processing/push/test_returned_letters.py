"""A dead letter that comes back is counted as what it was: all its sightings, once."""

from tests.support.builders.findings import an_event
from tests.support.pipelines.push import FALCO, pushing
from tests.support.tasks import until
from zenwatch.buffer.memory import MemoryDeadLetters
from zenwatch.model.queue import DeadLetter
from zenwatch.model.refs import Origin


async def test_all_sightings_of_a_letter_are_counted_in_its_record() -> None:
    """Also in the accounts: they were settled as dead letters, and are received again."""
    letters = MemoryDeadLetters()
    event = an_event(source="falco", details={"samples": ["a"]})
    async with pushing(inbox=letters.inbox(Origin("local", FALCO.name), capacity_events=10)) as push:
        await letters.put(DeadLetter(event, "no records in here", "2026-01-01T10:00:00Z", "shop", sightings=5))
        await letters.bring_back("shop", 1)
        await until(lambda: push.page().get("received") == 5)
        await push.settled()

        assert push.sightings()[event.key][0] == 5
        assert push.page() == {"received": 5, "stored": 1, "repeated": 4}
