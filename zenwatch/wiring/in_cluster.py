"""A process that watches one cluster and stores its records there: what `zenwatch run` runs.

In: settings and access to an API server.  Out: an App over the CRD store.
Owns: the API client, the App, and the Lease that lets one process at a time work on a cluster.
Stops: stop() stops the App, releases the Lease, then closes the client.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from importlib import import_module

import structlog

from zenwatch.contract import Clock, Group
from zenwatch.errors import ConfigError
from zenwatch.kube.access import Access, is_in_pod
from zenwatch.kube.client import KubeClient
from zenwatch.kube.cluster import Cluster, OwnAccount
from zenwatch.kube.lease import LEASE_SECS, Lease
from zenwatch.kube.own_namespace import ensure_namespace
from zenwatch.kube.owners import ControllerFinder
from zenwatch.kube.scopes import scopes_of
from zenwatch.runtime.clock import SystemClock
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.watcher import SelfIdentity, Watcher
from zenwatch.store.crd.store import CrdStore
from zenwatch.store.writer import most_requests
from zenwatch.wiring.app import App
from zenwatch.wiring.plugins import ConfiguredWatcher, configured_watchers
from zenwatch.wiring.settings import Settings

log = structlog.get_logger(component="app")

# For lists and detection. A watch holds a connection of its own, and so does each write.
SPARE_CONNECTIONS = 8


class InClusterApp:
    def __init__(
        self,
        settings: Settings,
        access: Access,
        *,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        watchers: Sequence[ConfiguredWatcher] | None = None,
        lease_secs: float = LEASE_SECS,
    ) -> None:
        """environment: tells whether this is a pod. watchers: None: all that are installed, with their settings from the environment.
        ConfigError: a setting of a watcher or of the server cannot be used.
        """
        environment = environment or {}
        watchers = configured_watchers(environment) if watchers is None else watchers
        settings, clock = settings.paced(), clock or SystemClock()
        account = OwnAccount()
        self._own_namespace, self._may_ask_for_namespaces = settings.own_namespace, not settings.watch_namespaces
        self._client = client = api_client(settings, access, watchers, clock)
        cluster = Cluster(
            settings.cluster_id,
            client,
            owners=ControllerFinder(client, clock=clock) if settings.group_by_owner else None,
            account=account,
            identity=SelfIdentity(lambda: account.name, settings.own_namespace, _own_pod(environment)),
        )
        store = CrdStore(
            client, cluster_ids=[settings.cluster_id], own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces
        )
        lease = Lease(client, cluster_id=settings.cluster_id, namespace=settings.own_namespace, clock=clock, duration_secs=lease_secs)
        self._lease = None if settings.allow_second else lease
        self._supervisor = Supervisor()
        # Held while components start or stop: a lease that comes while the process stops starts nothing more.
        self._changing = asyncio.Lock()
        self._is_stopping = False
        self.app = App(
            settings,
            store=store,
            cluster=cluster,
            watchers=watchers,
            is_in_pod=is_in_pod(environment),
            clock=clock,
            waits_for=self._waits_for,
        )

    async def start(self) -> None:
        """Until the lease is held, only serve and read; what is posted is kept. ConfigError: the server's address cannot be had."""
        if self._may_ask_for_namespaces:
            await ensure_namespace(self._client, self._own_namespace)
        if self._lease is None:
            await self.app.start()
        else:
            await self.app.start({Group.ALWAYS})
            self._supervisor.start("lease", partial(self._lease.hold, self._begin_work))

    async def stop(self) -> bool:
        """False: writes were cut off at SHUTDOWN_TIMEOUT."""
        async with self._changing:
            self._is_stopping = True
            # The lease is renewed until the last write is made.
            drained = await self.app.stop()
        await self._supervisor.stop()
        if self._lease is not None:
            await self._lease.release()
        await self._client.close()
        return drained

    async def _begin_work(self) -> None:
        async with self._changing:
            if not self._is_stopping:
                await self.app.start()

    def _waits_for(self) -> str:
        return self._lease.waits_for if self._lease is not None else ""


def api_client(settings: Settings, access: Access, watchers: Sequence[ConfiguredWatcher], clock: Clock) -> KubeClient:
    watches = sum(len(scopes_of(watcher, settings)) for watcher, own in watchers if isinstance(watcher, Watcher) and own.enabled)
    return KubeClient(
        access,
        timeout_secs=settings.api_timeout_secs,
        connections=most_requests(settings.write_concurrency) + watches + len(settings.watch_namespaces) + SPARE_CONNECTIONS,
        rate_per_sec=settings.api_rate,
        most_wait_secs=settings.retry_after_max_secs,
        clock=clock,
    )


def _own_pod(environment: Mapping[str, str]) -> str:
    """A pod's name is its host name, unless POD_NAME says otherwise. Empty outside a pod."""
    return environment.get("POD_NAME") or environment.get("HOSTNAME", "") if is_in_pod(environment) else ""


async def run_until(
    stop: asyncio.Event, settings: Settings, access: Access, environment: Mapping[str, str], watchers: Sequence[ConfiguredWatcher]
) -> bool:
    """Run until stop is set, then end in order. False: writes were cut off at the deadline."""
    app = InClusterApp(settings, access, environment=environment, watchers=watchers)
    try:
        await app.start()
    except ConfigError:
        await app.stop()
        raise
    await stop.wait()
    log.info("stopping", wait_secs=settings.shutdown_timeout_secs)
    return await app.stop()


def run_loop(work: Callable[[], Coroutine[None, None, bool]]) -> bool:
    """Run on uvloop where there is one."""
    if sys.implementation.name != "cpython":
        return asyncio.run(work())
    return bool(import_module("uvloop").run(work()))
