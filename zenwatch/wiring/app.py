"""The wiring diagram: which component hands what to which, in what order they start, and in what order they stop.

ReportInformer ──▶ Reconciler ───────┐
  (list, watch)                      ├──▶ Writer ──▶ store ──▶ change feed ──▶ Dispatcher ──▶ Kubernetes Events
Server ──▶ Webhook ──▶ PushProcessor ┘                 │
  (POST)         (inbox)                            Mirror  (list and watch of our own records)
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

import structlog

from zenwatch.buffer.memory import MemoryDeadLetters
from zenwatch.changes.feed import MemoryFeed
from zenwatch.contract import Clock, DeadLetters, Group, Store
from zenwatch.deliver.dispatcher import Dispatcher
from zenwatch.deliver.kube_events import KubeEventAnnouncer
from zenwatch.kube.cluster import Cluster
from zenwatch.model.record import Expiry
from zenwatch.model.refs import Origin
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.clock import SystemClock
from zenwatch.runtime.components import ALL_GROUPS, Components, Task
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.settings import PushSettings
from zenwatch.sdk.watcher import PushWatcher, Watcher
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import Mirror
from zenwatch.store.mending import keep_mending
from zenwatch.store.retention import Retention
from zenwatch.store.writer import Writer, WriterServices
from zenwatch.web.server_config import server_config
from zenwatch.wiring.housekeeping import Housekeeping, self_reporter
from zenwatch.wiring.pipelines import PullPipeline, PushPipeline, Services
from zenwatch.wiring.plugins import ConfiguredWatcher
from zenwatch.wiring.serving import server_components
from zenwatch.wiring.settings import Settings

if TYPE_CHECKING:
    from zenwatch.buffer.sqlite.spool import Spool

log = structlog.get_logger(component="app")


class App:
    """One process: start() it, wait, stop() it."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        cluster: Cluster | None = None,
        watchers: Sequence[ConfiguredWatcher] = (),
        is_in_pod: bool = False,
        clock: Clock | None = None,
        waits_for: Callable[[], str] = str,
    ) -> None:
        """cluster: whose tools are watched; None: tools can only post. waits_for: why this process does not work yet; empty: it does.

        ConfigError: a setting of a watcher or the server cannot be used.
        """
        self._settings = settings
        self._supervisor = supervisor = Supervisor()
        self._mirror = Mirror(store, supervisor)
        self._services = services = build_services(settings, store, self._mirror, supervisor, clock or SystemClock())
        config = server_config(settings, is_in_pod=is_in_pod, clock=services.clock)
        enabled = [(watcher, own) for watcher, own in watchers if own.enabled]
        pulls = [PullPipeline(watcher, own, cluster, services) for watcher, own in enabled if isinstance(watcher, Watcher) and cluster]
        self._pushes = pushes = [
            PushPipeline(watcher, own, services, cluster=cluster)
            for watcher, own in enabled
            if isinstance(watcher, PushWatcher) and isinstance(own, PushSettings)
        ]
        reporter = self_reporter(services)
        housekeeping = Housekeeping(services, [*(pull.monitored for pull in pulls), *(push.monitored for push in pushes)], reporter)
        self._sinks, self._sources = Components(), Components()
        self._add_sinks(cluster)
        self._sources.add(*pulls, *(part for push in pushes for part in (push.inactivity, push.detection)))
        self._sources.add(Task("mending", partial(keep_mending, store, self._mirror, services.clock), supervisor, group=Group.LEADER))
        self._sources.add(reporter, housekeeping, retention(services, [push.origin for push in pushes]))
        if cluster and pushes:
            self._sources.add(Task("account", partial(cluster.account.learn, cluster.client), supervisor, may_end=True))
        self._sources.add(*server_components(services, config, pushes, housekeeping, store, waits_for=waits_for))

    @property
    def ledger(self) -> Ledger:
        return self._services.ledger

    @property
    def components(self) -> tuple[Components, Components]:
        """Sinks and sources. A group of them stops and starts where leadership or a role changes."""
        return self._sinks, self._sources

    async def start(self, groups: Collection[Group] = ALL_GROUPS) -> None:
        """Downstream first: whoever hands something on finds its receiver at work. ConfigError: the server's address cannot be had.

        groups: the others start with a later call.
        """
        await self._sinks.start(groups)
        await self._sources.start(groups)

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
                await self._services.writer.stop_waiting()
                for push in self._pushes:
                    await push.processor.drain()
                await self._services.writer.drain()
        except TimeoutError:
            return False
        return True

    def _add_sinks(self, cluster: Cluster | None) -> None:
        services, supervisor, clock = self._services, self._supervisor, self._services.clock
        self._sinks.add(services.spool, services.writer, self._mirror)
        if cluster and self._settings.emit_events:
            announcer = KubeEventAnnouncer(cluster.client, supervisor, clock=clock)
            self._sinks.add(announcer, Dispatcher("kube-events", services.changes, announcer, supervisor, clock=clock))
        self._sinks.add(*(push.processor for push in self._pushes))


def build_services(settings: Settings, store: Store, mirror: Mirror, supervisor: Supervisor, clock: Clock) -> Services:
    """What all pipelines lead into."""
    spool = build_spool(settings, supervisor) if settings.spool_dir else None
    changes, ledger, letters = MemoryFeed(), Ledger(OutcomeLog(clock)), MemoryDeadLetters()
    dead_letters: DeadLetters = spool or letters
    results = WriterServices(mirror, changes, ledger, dead_letters)
    return Services(
        settings=settings,
        store=store,
        records=mirror,
        cache=mirror,
        writer=Writer(
            store,
            results,
            supervisor,
            clock=clock,
            concurrency=settings.write_concurrency,
            dead_letter_after_secs=settings.dead_letter_after_secs,
        ),
        changes=changes,
        ledger=ledger,
        budget=Budget(mirror, records=settings.record_budget, size_bytes=settings.record_budget_bytes),
        spool=spool,
        memory=letters,
        supervisor=supervisor,
        clock=clock,
    )


def build_spool(settings: Settings, supervisor: Supervisor) -> "Spool":
    from zenwatch.buffer.sqlite.spool import Spool  # noqa: PLC0415  SQLite costs a megabyte that a process without a spool saves

    return Spool(settings.spool_dir, supervisor, max_bytes=settings.spool_max_bytes)


def retention(services: Services, pushed: Sequence[Origin]) -> Retention:
    settings = services.settings
    expiry = Expiry(settings.event_ttl_secs or None, frozenset(pushed))
    return Retention(
        expiry, services.budget, services.records, services.writer, services.supervisor, rate_per_sec=settings.gc_rate, clock=services.clock
    )
