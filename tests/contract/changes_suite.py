"""What every contract.ChangeFeed promises. The subclass gives the fixture `feed`, which keeps three changes."""

import asyncio

from tests.support.builders.findings import an_event
from tests.support.builders.records import a_stored
from tests.support.tasks import patience
from zenwatch.contract import ChangeFeed, Cursor, RecordChange


class ChangesSuite:
    async def test_a_cursor_reads_each_change_once_and_in_order(self, feed: ChangeFeed) -> None:
        """As many at a time as it asks for."""
        cursor = feed.cursor()
        before, after, event = a_stored(version=1), a_stored(version=2), an_event()
        feed.append(None, before, event)
        feed.append(before, after, None)
        feed.append(after, None, None)

        first, rest = await _read(cursor, 1), await _read(cursor, 10)

        assert [(change.before, change.after, change.event) for change in (*first, *rest)] == [
            (None, before, event),
            (before, after, None),
            (after, None, None),
        ]
        assert [change.seq - first[0].seq for change in (*first, *rest)] == [0, 1, 2]
        assert [change.is_new for change in (*first, *rest)] == [True, False, False]

    async def test_a_cursor_begins_with_the_change_after_it_was_made(self, feed: ChangeFeed) -> None:
        """What was before is not news to it."""
        feed.append(None, a_stored(name="before"), None)
        cursor = feed.cursor()
        feed.append(None, a_stored(name="after"), None)

        assert _names(await _read(cursor, 10)) == ["after"]

    async def test_a_cursor_waits_for_the_next_change(self, feed: ChangeFeed) -> None:
        """It returns when there is one."""
        cursor = feed.cursor()
        reading = asyncio.create_task(_read(cursor, 10))
        await asyncio.sleep(0)
        assert not reading.done()

        feed.append(None, a_stored(name="a"), None)

        assert _names(await reading) == ["a"]

    async def test_cursors_do_not_take_changes_from_each_other(self, feed: ChangeFeed) -> None:
        """Each destination reads all of them, at its own speed."""
        quick, slow = feed.cursor(), feed.cursor()
        feed.append(None, a_stored(name="a"), None)
        assert _names(await _read(quick, 10)) == ["a"]
        feed.append(None, a_stored(name="b"), None)

        assert (_names(await _read(quick, 10)), _names(await _read(slow, 10))) == (["b"], ["a", "b"])

    async def test_a_cursor_that_is_too_slow_knows_how_much_it_missed(self, feed: ChangeFeed) -> None:
        """The feed is bounded: the oldest changes leave it."""
        cursor = feed.cursor()
        for number in range(5):
            feed.append(None, a_stored(name=f"r{number}"), None)

        assert _names(await _read(cursor, 10)) == ["r2", "r3", "r4"]
        assert cursor.missed == 2

    async def test_a_closed_cursor_holds_nothing_back(self, feed: ChangeFeed) -> None:
        """The others read on."""
        closed, other = feed.cursor(), feed.cursor()
        feed.append(None, a_stored(name="a"), None)
        closed.close()
        feed.append(None, a_stored(name="b"), None)

        assert (_names(await _read(other, 10)), other.missed) == (["a", "b"], 0)


async def _read(cursor: Cursor, limit: int) -> list[RecordChange]:
    async with patience():
        return list(await cursor.read(limit))


def _names(changes: list[RecordChange]) -> list[str]:
    return [change.after.name for change in changes if change.after is not None]
