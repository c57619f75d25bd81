"""The inbox has no implementation yet; the promise has."""

import pytest

from tests.contract.inbox_suite import InboxSuite
from tests.fakes.inbox import ListInbox


class TestListInbox(InboxSuite):
    @pytest.fixture
    def inbox(self) -> ListInbox:
        return ListInbox(capacity_events=3)
