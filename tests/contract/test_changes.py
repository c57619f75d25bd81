"""changes.feed.MemoryFeed passes the suite of contract.ChangeFeed."""

import pytest

from tests.contract.changes_suite import ChangesSuite
from tests.support.builders.records import a_stored
from zenwatch.changes.feed import MemoryFeed


class TestMemoryFeed(ChangesSuite):
    @pytest.fixture
    def feed(self) -> MemoryFeed:
        return MemoryFeed(capacity_changes=3)

    async def test_without_a_cursor_nothing_is_kept(self, feed: MemoryFeed) -> None:
        """A process that delivers nowhere pays no memory for it."""
        feed.append(None, a_stored(), None)
        cursor = feed.cursor()
        assert len(feed) == 0

        feed.append(None, a_stored(), None)
        assert len(feed) == 1
        cursor.close()

        assert len(feed) == 0

    async def test_what_every_cursor_has_read_is_kept_no_longer(self, feed: MemoryFeed) -> None:
        """The slowest one decides."""
        quick, slow = feed.cursor(), feed.cursor()
        feed.append(None, a_stored(), None)
        feed.append(None, a_stored(), None)
        await quick.read(2)
        assert len(feed) == 2
        await slow.read(1)

        assert len(feed) == 1
