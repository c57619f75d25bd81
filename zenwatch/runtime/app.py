"""The wiring diagram: which room hands what to which, in what order they start, and in what order they stop.

Reports ──▶ Reconciler ────┐
  (list, watch)            ├──▶ Writer ──▶ CrdStore ──▶ the API server
Server ──▶ Webhook ──▶ Stream             ▲                  │
  (POST)           (MemoryInbox)     StoredIndex ◀───────────┘
                                       (list, watch of our own records)
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module

import structlog

from zenwatch.api.introspection import introspection_routes
from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.config.core import PushSettings, Settings
from zenwatch.contract import Clock
from zenwatch.deliver.kube_events import KubeEventAnnouncer
from zenwatch.errors import ConfigError, NotFound
from zenwatch.kube.access import Access, is_in_pod
from zenwatch.kube.client import KubeClient
from zenwatch.kube.cluster import Cluster
from zenwatch.kube.discovery import own_user_name, served_plurals
from zenwatch.kube.owners import ControllerFinder
from zenwatch.kube.scopes import scopes_of
from zenwatch.metrics import Ledger
from zenwatch.model.record import GROUP, PLURAL, VERSION
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.runtime.clock import SystemClock
from zenwatch.runtime.housekeeping import Housekeeping
from zenwatch.runtime.pipelines import PushPipeline, Services, start_pull_pipeline
from zenwatch.runtime.plugins import installed_watchers, settings_of
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher, SelfIdentity, Watcher
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.store.crd.store import CrdStore
from zenwatch.store.writer import Writer
from zenwatch.web.readiness import Readiness
from zenwatch.web.server import Server
from zenwatch.web.server_config import server_config

log = structlog.get_logger(component="app")


class App:
    """One process: start() it, wait, stop() it. environment: for the watchers' own settings, and to know whether this is a pod."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        *,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        watchers: Sequence[AnyWatcher] | None = None,
    ) -> None:
        """ConfigError: a setting of a watcher or of the server cannot be used."""
        self.ledger = Ledger()
        self._settings = settings = settings.paced()
        self._clock = clock or SystemClock()
        self._supervisor = Supervisor()
        environment = environment or {}
        self._config = server_config(settings, is_in_pod=is_in_pod(environment), clock=self._clock)
        found = [(watcher, settings_of(watcher, environment)) for watcher in (installed_watchers() if watchers is None else watchers)]
        self._pull = [(watcher, own) for watcher, own in found if isinstance(watcher, Watcher) and own.enabled]
        self._client = self._client_for(access)
        self._spool = Spool(settings.spool_dir, max_bytes=settings.spool_max_bytes) if settings.spool_dir else None
        self._services = self._build_services()
        self._announcer = KubeEventAnnouncer(self._client, self._supervisor, clock=self._clock) if settings.emit_events else None
        if self._announcer:
            self._services.writer.call_when_new(self._announcer.announce)
        self._account = ""
        here = SelfIdentity(lambda: self._account, settings.own_namespace, _pod_of(environment))
        self._push = [
            PushPipeline(watcher, own, self._services, here)
            for watcher, own in found
            if isinstance(watcher, PushWatcher) and isinstance(own, PushSettings) and own.enabled
        ]
        self._housekeeping = Housekeeping(self._services, pushed=[line.name for line in self._push])
        served = partial(served_plurals, self._client, GROUP, VERSION)
        self._health = Readiness(clock=self._clock, served_kinds=served, kind=PLURAL, buffers={line.name: line.fill for line in self._push})
        self._server = Server(
            [line.hook for line in self._push], self._config, self._health, introspection_routes(self._services, self._housekeeping)
        )

    async def start(self) -> None:
        """Downstream first: whoever hands something on finds its receiver at work. ConfigError: the server's address cannot be had."""
        if self._spool:
            self._supervisor.start("spool", self._spool.run)
        for worker in range(self._settings.write_concurrency):
            self._supervisor.start(f"write/{worker}", self._services.writer.work)
        for part in self._services.store.parts:
            # Nothing is written before it was read: when the API server is back, that must not wait.
            self._supervisor.start(f"index/{part}", partial(self._services.index.follow, part), longest_wait_secs=5.0)
        if self._announcer:
            await self._announcer.start()
        monitored = [start_pull_pipeline(watcher, own, self._services, self._supervisor) for watcher, own in self._pull]
        for line in self._push:
            line.start(self._supervisor)
        self._housekeeping.start([*monitored, *(line.monitored for line in self._push)], self._supervisor)
        self._supervisor.start("web/beat", self._health.beat)
        if self._push:
            self._supervisor.start("web/identity", self._learn_who_we_are)
        if self._config.certificate:
            self._supervisor.start("web/certificate", self._config.certificate.watch)
        await self._server.start()

    async def stop(self) -> bool:
        """Upstream first. False: SHUTDOWN_TIMEOUT passed; writes were cut off, and pushed events that were not stored are lost."""
        await self._server.stop()
        await self._supervisor.stop("source/")
        drained = True
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout_secs):
                for line in self._push:
                    await line.stream.drain()
                await self._services.writer.drain()
        except TimeoutError:
            drained = False
        await self._supervisor.stop()
        if self._spool:
            await self._spool.close()
        await self._client.close()
        for line in self._push:
            line.stream.give_up()
        for source in self.ledger.sources:
            log.info("ledger", source=source, **self.ledger.page(source))
        return drained

    def _build_services(self) -> Services:
        """What all lines lead into, downstream first."""
        settings, clock, most = self._settings, self._clock, self._settings.write_concurrency
        store = CrdStore(
            self._client, cluster_id=settings.cluster_id, own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces
        )
        index = StoredIndex(store)
        writer = Writer(store, queue_writes=2 * most, clock=clock, concurrency=most, dead_letters=self._spool)
        owners = ControllerFinder(self._client, clock=clock) if settings.group_by_owner else None
        return Services(
            settings=settings,
            cluster=Cluster(settings.cluster_id, self._client, owners),
            store=store,
            index=index,
            dedup=Dedup(index),
            writer=writer,
            spool=self._spool,
            ledger=self.ledger,
            outcome_log=OutcomeLog(clock),
            clock=clock,
            budget=Budget(index, records=settings.record_budget, size_bytes=settings.record_budget_bytes),
        )

    def _client_for(self, access: Access) -> KubeClient:
        settings = self._settings
        reads = sum(len(scopes_of(watcher, settings)) for watcher, _ in self._pull)
        return KubeClient(
            access,
            timeout_secs=settings.api_timeout_secs,
            # A watch holds its connection: one per place and per part of the store, and some for lists and detection.
            connections=settings.write_concurrency + reads + len(settings.watch_namespaces) + 8,
            rate_per_sec=settings.api_rate,
        )

    async def _learn_who_we_are(self) -> None:
        """Our own writes come back as audit events. Where the API server is too old to say who we are, our user agent tells."""
        with suppress(NotFound):
            self._account = await own_user_name(self._client)


def _pod_of(environment: Mapping[str, str]) -> str:
    """Its host name is a pod's name, unless it says otherwise."""
    return environment.get("POD_NAME") or environment.get("HOSTNAME", "") if is_in_pod(environment) else ""


async def run_until(stop: asyncio.Event, settings: Settings, access: Access, environment: Mapping[str, str]) -> bool:
    """Run until stop is set, then end in order. False: writes were cut off at the deadline."""
    app = App(settings, access, environment=environment)
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
