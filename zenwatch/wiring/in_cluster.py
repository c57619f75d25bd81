"""A process that watches one cluster and stores its records there: what `zenwatch run` runs.

In: settings and access to an API server.  Out: an App over the CRD store.
Owns: the API client, and the App.
Stops: stop() stops the App, then closes the client.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from importlib import import_module

import structlog

from zenwatch.contract import Clock
from zenwatch.errors import ConfigError
from zenwatch.kube.access import Access, is_in_pod
from zenwatch.kube.client import KubeClient
from zenwatch.kube.cluster import Cluster, OwnAccount
from zenwatch.kube.own_namespace import ensure_namespace
from zenwatch.kube.owners import ControllerFinder
from zenwatch.kube.scopes import scopes_of
from zenwatch.runtime.clock import SystemClock
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
        self.app = App(settings, store=store, cluster=cluster, watchers=watchers, is_in_pod=is_in_pod(environment), clock=clock)

    async def start(self) -> None:
        """ConfigError: the server's address cannot be had."""
        if self._may_ask_for_namespaces:
            await ensure_namespace(self._client, self._own_namespace)
        await self.app.start()

    async def stop(self) -> bool:
        """False: writes were cut off at SHUTDOWN_TIMEOUT."""
        drained = await self.app.stop()
        await self._client.close()
        return drained


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
