"""Every contract.Inbox keeps the promise."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from tests.contract.inbox_suite import InboxSuite
from tests.support.builders.findings import an_event
from tests.support.tasks import background
from zenwatch.buffer.memory import MemoryInbox
from zenwatch.buffer.sqlite.database import ROW_BYTES
from zenwatch.buffer.sqlite.spool import Spool, SpoolInbox


class TestMemoryInbox(InboxSuite):
    @pytest.fixture
    def inbox(self) -> MemoryInbox:
        return MemoryInbox("falco", capacity_events=3)


class TestSpoolInbox(InboxSuite):
    @pytest.fixture
    async def inbox(self, tmp_path: Path) -> AsyncIterator[SpoolInbox]:
        spool = Spool(str(tmp_path), max_bytes=3 * (len(orjson.dumps(an_event(key="a"))) + ROW_BYTES))
        async with background(spool.run):
            yield spool.inbox("falco")
        await spool.close()
