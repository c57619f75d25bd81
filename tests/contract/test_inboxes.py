"""Every contract.Inbox keeps the promise."""

import pytest

from tests.contract.inbox_suite import InboxSuite
from zenwatch.buffer.inbox import MemoryInbox


class TestMemoryInbox(InboxSuite):
    @pytest.fixture
    def inbox(self) -> MemoryInbox:
        return MemoryInbox("falco", capacity_events=3)
