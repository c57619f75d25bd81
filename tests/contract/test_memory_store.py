"""The fake that the other tests stand on keeps the same promises as the real store."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.store_suite import NamespacedStoreSuite, StoreSuite
from tests.support.fakes.store import MemoryStore
from zenwatch.model.record import Stored


@dataclass
class MemoryHarness:
    """contract of tests/contract/store_suite.py: StoreHarness."""

    cluster_id: str = "suite"
    own_namespace: str = "zenwatch"
    namespace: str = "default"
    missing_namespace: str = "nowhere"
    store: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = MemoryStore(cluster_ids=[self.cluster_id], own_namespace=self.own_namespace)
        self.store.missing_namespaces.add(self.missing_namespace)

    async def terminating_namespace(self) -> str:
        self.store.terminating_namespaces.add("going")
        return "going"

    async def remove(self, stored: Stored) -> None:
        self.store.remove(stored.name)

    async def spec_of(self, stored: Stored) -> dict[str, Any]:
        return dict(self.store.objects[stored.name]["spec"])

    async def status_of(self, stored: Stored) -> dict[str, Any]:
        return dict(self.store.objects[stored.name]["status"])


class TestMemoryStore(StoreSuite, NamespacedStoreSuite):
    @pytest.fixture
    def harness(self) -> MemoryHarness:
        return MemoryHarness()
