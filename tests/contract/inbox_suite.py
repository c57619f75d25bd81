"""What every contract.Inbox promises. The subclass gives the fixture `inbox`, for three events."""

import asyncio

import pytest

from tests.support.builders.findings import an_event
from zenwatch.contract import Inbox
from zenwatch.errors import Closed
from zenwatch.model.event import Event


class InboxSuite:
    async def test_events_come_out_in_the_order_they_went_in(self, inbox: Inbox) -> None:
        """Two sightings of a record keep their order."""
        assert await inbox.offer(_events("a", "b"))
        assert await inbox.offer(_events("c"))

        assert [await _receive(inbox) for _ in range(3)] == ["a", "b", "c"]

    async def test_a_batch_that_does_not_fit_is_refused_whole(self, inbox: Inbox) -> None:
        """The sender sends the whole batch again: events that were accepted from it would be in the inbox twice."""
        assert await inbox.offer(_events("a", "b"))

        assert not await inbox.offer(_events("c", "d"))

        assert await inbox.offer(_events("e"))
        assert [await _receive(inbox) for _ in range(3)] == ["a", "b", "e"]

    async def test_an_empty_inbox_accepts_a_batch_that_is_larger_than_its_capacity(self, inbox: Inbox) -> None:
        """The sender cannot make it smaller: a batch that is refused now would be refused forever."""
        assert await inbox.offer(_events("a", "b", "c", "d"))

        assert not await inbox.offer(_events("e"))

    async def test_only_settled_events_free_capacity(self, inbox: Inbox) -> None:
        """An event that was received and is not stored yet still counts."""
        assert await inbox.offer(_events("a", "b", "c"))
        queued = await inbox.receive()
        assert not await inbox.offer(_events("d"))

        inbox.settle([queued.message_id])
        inbox.release([queued.message_id])

        async with asyncio.timeout(5):
            while not await inbox.offer(_events("d")):  # noqa: ASYNC110  no event is set
                await asyncio.sleep(0.01)

    async def test_the_callback_receives_the_number_of_accepted_events(self, inbox: Inbox) -> None:
        """Once per accepted batch, before an event of it is received, and not for a refused batch."""
        accepted: list[int] = []
        inbox.call_when_taken(accepted.append)

        await inbox.offer(_events("a", "b"))
        await inbox.offer(_events("c", "d"))
        await inbox.receive()

        assert accepted == [2]

    async def test_it_reports_how_full_it_is(self, inbox: Inbox) -> None:
        """From nothing to full."""
        before = inbox.fill
        assert await inbox.offer(_events("a", "b", "c"))
        after = inbox.fill

        assert (before.used, before.is_full, before.capacity) == (0, False, after.capacity)
        assert after.is_full

    async def test_receive_waits_for_an_event(self, inbox: Inbox) -> None:
        """A worker sleeps while the inbox is empty."""
        receiving = asyncio.create_task(_receive(inbox))
        await asyncio.sleep(0)
        assert not receiving.done()

        assert await inbox.offer(_events("a"))

        assert await receiving == "a"

    async def test_a_closed_inbox_accepts_nothing_and_loses_nothing(self, inbox: Inbox) -> None:
        """Its events are still received before Closed is raised; a durable inbox keeps them for the next start."""
        assert await inbox.offer(_events("a"))
        inbox.close()

        assert not await inbox.offer(_events("b"))
        if not inbox.is_durable:
            assert await _receive(inbox) == "a"
        with pytest.raises(Closed):
            await _receive(inbox)

    async def test_closing_wakes_a_waiting_receiver(self, inbox: Inbox) -> None:
        """A worker does not outlive the inbox."""
        receiving = asyncio.create_task(_receive(inbox))
        await asyncio.sleep(0)

        inbox.close()

        with pytest.raises(Closed):
            await receiving


def _events(*keys: str) -> list[Event]:
    return [an_event(key=key) for key in keys]


async def _receive(inbox: Inbox) -> str:
    async with asyncio.timeout(1):
        queued = await inbox.receive()
    inbox.settle([queued.message_id])
    inbox.release([queued.message_id])
    return queued.event.key
