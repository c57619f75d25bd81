"""What every contract.Inbox promises. The subclass gives the fixture `inbox`, with room for three events."""

import asyncio

import pytest

from zenwatch.contract import Inbox
from zenwatch.errors import Closed
from zenwatch.model.envelope import Outcome


class InboxSuite:
    async def test_events_come_out_in_the_order_they_went_in(self, inbox: Inbox) -> None:
        """Two changes of one thing are not turned round."""
        assert inbox.offer(["a", "b"])
        assert inbox.offer(["c"])

        assert [await _receive(inbox) for _ in range(3)] == ["a", "b", "c"]

    async def test_a_batch_that_does_not_fit_is_refused_whole(self, inbox: Inbox) -> None:
        """The sender sends all of it again; a part that was taken would then be there twice."""
        assert inbox.offer(["a", "b"])

        assert not inbox.offer(["c", "d"])

        assert inbox.offer(["e"])
        assert [await _receive(inbox) for _ in range(3)] == ["a", "b", "e"]

    async def test_receiving_makes_room(self, inbox: Inbox) -> None:
        """Full is a passing state."""
        assert inbox.offer(["a", "b", "c"])
        assert not inbox.offer(["d"])

        await _receive(inbox)

        assert inbox.offer(["d"])

    async def test_receive_waits_for_an_event(self, inbox: Inbox) -> None:
        """A worker sleeps while there is nothing to do."""
        receiving = asyncio.create_task(_receive(inbox))
        await asyncio.sleep(0)
        assert not receiving.done()

        assert inbox.offer(["a"])

        assert await receiving == "a"

    async def test_a_closed_inbox_takes_nothing_and_gives_out_the_rest(self, inbox: Inbox) -> None:
        """Stopping loses nothing: what is in it is received, then Closed."""
        assert inbox.offer(["a"])
        inbox.close()

        assert not inbox.offer(["b"])
        assert await _receive(inbox) == "a"
        with pytest.raises(Closed):
            await _receive(inbox)

    async def test_closing_wakes_who_waits(self, inbox: Inbox) -> None:
        """A worker does not outlive the inbox."""
        receiving = asyncio.create_task(_receive(inbox))
        await asyncio.sleep(0)

        inbox.close()

        with pytest.raises(Closed):
            await receiving


async def _receive(inbox: Inbox) -> object:
    async with asyncio.timeout(1):
        event, settle = await inbox.receive()
    settle(Outcome.STORED)
    return event
