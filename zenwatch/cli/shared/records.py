"""How a command reads the stored records of the cluster that was named."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zenwatch.cli.shared.cluster import settings_in
from zenwatch.cli.shared.terminal import complain
from zenwatch.errors import ZenwatchError, first_line
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.store.crd.store import CrdStore
from zenwatch.wiring.settings import Settings

Result = TypeVar("Result")


def read_records(settings: Settings, cluster: Access, read: Callable[[CrdStore], Awaitable[Result]]) -> Result | None:
    """What `read` returns. None: the records could not be read; stderr has the reason."""
    return asyncio.run(_read(settings, cluster, read))


async def _read(settings: Settings, cluster: Access, read: Callable[[CrdStore], Awaitable[Result]]) -> Result | None:
    settings = settings_in(cluster, settings)
    client = KubeClient(cluster, timeout_secs=settings.api_timeout_secs, connections=2)
    store = CrdStore(client, cluster_ids=[settings.cluster_id], own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces)
    try:
        return await read(store)
    except ZenwatchError as exc:
        complain(f"zenwatch: the records could not be read: {first_line(exc)}")
        return None
    finally:
        await client.close()
