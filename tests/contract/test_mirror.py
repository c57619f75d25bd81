"""store.crd.mirror.Mirror passes the suite of contract.Records."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contract.records_suite import RecordsSuite
from tests.support.fakes.store import MemoryStore
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.crd.mirror import Mirror


class Harness:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.records = self.cache = Mirror(self.store, Supervisor())
        self.following: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.following.append(asyncio.create_task(self.records.follow()))


class TestMirror(RecordsSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        harness = Harness()
        yield harness
        for task in harness.following:
            task.cancel()
        await asyncio.gather(*harness.following, return_exceptions=True)
