"""changes.feed.MemoryFeed passes the suite of contract.ChangeFeed."""

import pytest

from tests.contract.changes_suite import ChangesSuite
from zenwatch.changes.feed import MemoryFeed


class TestMemoryFeed(ChangesSuite):
    @pytest.fixture
    def feed(self) -> MemoryFeed:
        return MemoryFeed(capacity_changes=3)
