"""The store in a real API server keeps the promises of contract.Store, under the shipped RBAC."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from tests.contract.store_suite import NamespacedStoreSuite, StoreSuite
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from zenwatch.kube import access
from zenwatch.kube.client import KubeClient
from zenwatch.model.record import Stored
from zenwatch.store.crd.store import CrdStore

pytestmark = pytest.mark.cluster


@dataclass
class CrdHarness:
    """StoreHarness of tests/contract/store_suite.py. It reads and changes records as the admin, with kubectl, and not through the store."""

    cluster: ControlPlane
    client: KubeClient
    namespace: str
    own_namespace: str = "zenwatch"
    missing_namespace: str = "nowhere"
    cluster_id: str = field(default_factory=lambda: f"suite-{uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        self.store = CrdStore(self.client, cluster_ids=[self.cluster_id], own_namespace=self.own_namespace)

    async def terminating_namespace(self) -> str:
        """Create a namespace that stays Terminating, because no controller removes the finalizer of an object in it."""
        name = await asyncio.to_thread(self.cluster.namespace, "going")
        anchor = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "anchor", "finalizers": ["zenwatch.example/held"]}}
        await self._kubectl("create", "-n", name, "-f", "-", stdin=json.dumps(anchor))
        await self._kubectl("delete", "namespace", name, "--wait=false")
        return name

    async def remove(self, stored: Stored) -> None:
        await self._kubectl("delete", "zenagentevents", stored.name, "-n", stored.namespace)

    async def spec_of(self, stored: Stored) -> dict[str, Any]:
        return dict((await self._read(stored))["spec"])

    async def status_of(self, stored: Stored) -> dict[str, Any]:
        return dict((await self._read(stored))["status"])

    async def _read(self, stored: Stored) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(await self._kubectl("get", "zae", stored.name, "-n", stored.namespace, "-o", "json"))
        return record

    async def _kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return await asyncio.to_thread(self.cluster.kubectl, *arguments, stdin=stdin)


class TestCrdStore(StoreSuite, NamespacedStoreSuite):
    @pytest.fixture
    async def harness(self, cluster: ControlPlane, account: Identity, namespace: str) -> AsyncIterator[CrdHarness]:
        client = KubeClient(access.from_kubeconfig(str(cluster.kubeconfig(account)), None), timeout_secs=10, connections=8)
        harness = CrdHarness(cluster, client, namespace)
        yield harness
        await client.close()
        mine = f"zen.kube-zen.io/cluster in ({harness.cluster_id}, {harness.cluster_id}-2)"
        await asyncio.to_thread(cluster.kubectl, "delete", "zae", "-n", "zenwatch", "-l", mine, "--wait=false")
