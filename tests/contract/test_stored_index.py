"""store.index.StoredIndex passes the suite of contract.Index."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.contract.index_suite import IndexSuite
from tests.support.fakes.store import MemoryStore
from zenwatch.store.crd.mirror import StoredIndex


class Harness:
    def __init__(self) -> None:
        self.store = MemoryStore()
        self.index = StoredIndex(self.store)
        self.following: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.following.append(asyncio.create_task(self.index.follow()))


class TestStoredIndex(IndexSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[Harness]:
        harness = Harness()
        yield harness
        for task in harness.following:
            task.cancel()
        await asyncio.gather(*harness.following, return_exceptions=True)
