"""The wiring diagram: which component hands what to which, in what order they start, and in what order they stop.

ReportInformer ──▶ Reconciler ───────┐
  (list, watch)                      ├──▶ Writer ──▶ store ──▶ change feed ──▶ Dispatcher ──▶ Kubernetes Events
Server ──▶ Webhook ──▶ PushProcessor ┘                 │
  (POST)         (inbox)                            Mirror  (list and watch of our own records)
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.changes.feed import MemoryFeed
from zenwatch.contract import Clock, Store
from zenwatch.deliver.dispatcher import Dispatcher
from zenwatch.deliver.kube_events import KubeEventAnnouncer
from zenwatch.kube.access import is_in_pod
from zenwatch.kube.cluster import Cluster
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.clock import SystemClock
from zenwatch.runtime.components import Components
from zenwatch.runtime.housekeeping import Housekeeping, self_reporter
from zenwatch.runtime.pipelines import PullPipeline, PushPipeline, Services
from zenwatch.runtime.plugins import installed_watchers, settings_of
from zenwatch.runtime.settings import Settings
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.settings import PushSettings, WatcherSettings
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher, SelfIdentity, Watcher
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import Mirror
from zenwatch.store.retention import Retention
from zenwatch.store.writer import LoggedDeadLetters, Writer, WriterServices

log = structlog.get_logger(component="app")


class App:
    """One process: start() it, wait, stop() it."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        cluster: Cluster | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        watchers: Sequence[AnyWatcher] | None = None,
    ) -> None:
        """cluster: whose tools are watched; None: tools can only post. environment: holds the watchers' own settings.
        ConfigError: a setting of a watcher or of the server cannot be used.
        """
        environment = environment or {}
        self._settings = settings = settings.paced()
        self._supervisor = Supervisor()
        self._mirror = Mirror(store, self._supervisor)
        self._services = services = build_services(settings, store, self._mirror, self._supervisor, clock or SystemClock())
        config = server_config(settings, is_in_pod=is_in_pod(environment), clock=services.clock)
        enabled = enabled_watchers(watchers, environment)
        pulls = [PullPipeline(watcher, own, cluster, services) for watcher, own in enabled if isinstance(watcher, Watcher) and cluster]
        identity = cluster.identity if cluster else SelfIdentity()
        self._pushes = pushes = [
            PushPipeline(watcher, own, services, cluster=cluster, identity=identity)
            for watcher, own in enabled
            if isinstance(watcher, PushWatcher) and isinstance(own, PushSettings)
        ]
        reporter = self_reporter(services)
        housekeeping = Housekeeping(services, [pipeline.monitored for pipeline in (*pulls, *pushes)], reporter)
        self._sinks = self._build_sinks(cluster)
        self._sources = Components()
        self._sources.add(*pulls, *(part for push in pushes for part in (push.inactivity, push.detection)))
        self._sources.add(reporter, housekeeping, retention(services, [push.origin for push in pushes]))
        self._sources.add(*web_components(services, config, pushes, housekeeping, store))

    @property
    def ledger(self) -> Ledger:
        return self._services.ledger

    @property
    def components(self) -> tuple[Components, Components]:
        """Sinks and sources. A group of them stops and starts where leadership or a role changes."""
        return self._sinks, self._sources

    async def start(self) -> None:
        """Downstream first: whoever hands something on finds its receiver at work. ConfigError: the server's address cannot be had."""
        await self._sinks.start()
        await self._sources.start()

    async def stop(self) -> bool:
        """Upstream first. False: SHUTDOWN_TIMEOUT passed; writes were cut off, and pushed events that were not stored are lost."""
        await self._sources.stop()
        drained = await self._drain()
        await self._sinks.stop()
        if self._services.spool:
            await self._services.spool.close()
        for push in self._pushes:
            push.processor.lose_the_rest()
        for origin in self.ledger.origins:
            log.info("ledger", cluster_id=origin.cluster_id, source=origin.source, **self.ledger.page(origin))
        return drained

    async def _drain(self) -> bool:
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout_secs):
                for push in self._pushes:
                    await push.processor.drain()
                await self._services.writer.drain()
        except TimeoutError:
            return False
        return True

    def _build_sinks(self, cluster: Cluster | None) -> Components:
        services, sinks = self._services, Components()
        sinks.add(services.spool, services.writer, self._mirror)
        if cluster and self._settings.emit_events:
            announcer = KubeEventAnnouncer(cluster.client, services.supervisor, clock=services.clock)
            sinks.add(announcer, Dispatcher("kube-events", services.changes, announcer, services.supervisor, clock=services.clock))
        sinks.add(*(push.processor for push in self._pushes))
        return sinks


def build_services(settings: Settings, store: Store, mirror: Mirror, supervisor: Supervisor, clock: Clock) -> Services:
    """What all pipelines lead into."""
    spool = Spool(settings.spool_dir, supervisor, max_bytes=settings.spool_max_bytes) if settings.spool_dir else None
    changes, ledger = MemoryFeed(), Ledger(OutcomeLog(clock))
    results = WriterServices(mirror, changes, ledger, spool or LoggedDeadLetters())
    return Services(
        settings=settings,
        store=store,
        records=mirror,
        cache=mirror,
        writer=Writer(store, results, supervisor, clock=clock, concurrency=settings.write_concurrency),
        changes=changes,
        ledger=ledger,
        budget=Budget(mirror, records=settings.record_budget, size_bytes=settings.record_budget_bytes),
        spool=spool,
        supervisor=supervisor,
        clock=clock,
    )


def enabled_watchers(watchers: Sequence[AnyWatcher] | None, environment: Mapping[str, str]) -> Sequence[tuple[AnyWatcher, WatcherSettings]]:
    """watchers: None: all that are installed."""
    found = installed_watchers() if watchers is None else watchers
    configured = ((watcher, settings_of(watcher, environment)) for watcher in found)
    return [(watcher, own) for watcher, own in configured if own.enabled]


def retention(services: Services, pushed: Sequence[Origin]) -> Retention:
    settings = services.settings
    expiry = Expiry(settings.event_ttl_secs or None, frozenset(pushed))
    return Retention(
        expiry, services.budget, services.records, services.writer, services.supervisor, rate_per_sec=settings.gc_rate, clock=services.clock
    )
