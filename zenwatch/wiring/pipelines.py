"""One pipeline per cluster and watcher: the parts between a tool and the writer, joined.

Pull:  ReportInformer ──▶ Reconciler ──▶ writer                       (a ReconcileLoop calls settle)
Push:  Webhook ──▶ EventIntake ──▶ inbox ──▶ PushProcessor ──▶ writer   (the inbox is in memory, or the spool)
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from zenwatch.buffer.memory import MemoryDeadLetters
from zenwatch.contract import ChangeFeed, Clock, Group, Inbox, RecordCache, Records, Store
from zenwatch.kube.cluster import Cluster
from zenwatch.kube.scopes import scopes_of
from zenwatch.model.queue import Fill
from zenwatch.model.refs import Origin, Scope
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.pull.reconciler import PullPolicy, Reconciler
from zenwatch.processing.push.inactivity import InactivityResolver
from zenwatch.processing.push.intake import EventIntake
from zenwatch.processing.push.processor import PushProcessor
from zenwatch.runtime.components import Task
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.settings import PushSettings, WatcherSettings
from zenwatch.sdk.watcher import PushWatcher, SelfIdentity, Watcher
from zenwatch.sources.monitor.source import SourceMonitor
from zenwatch.sources.pull.detection import Detector
from zenwatch.sources.pull.informer import ReportInformer
from zenwatch.sources.pull.reconcile_loop import Interval, ReconcileLoop
from zenwatch.sources.push.webhook import Webhook
from zenwatch.store.budget import Budget
from zenwatch.store.writer import Writer
from zenwatch.wiring.settings import Settings

if TYPE_CHECKING:
    from zenwatch.buffer.sqlite.spool import Spool


@dataclass(frozen=True)
class Services:
    """What all pipelines lead into."""

    settings: Settings
    store: Store
    records: Records
    cache: RecordCache
    writer: Writer
    changes: ChangeFeed
    ledger: Ledger
    budget: Budget
    spool: "Spool | None"
    memory: MemoryDeadLetters
    supervisor: Supervisor
    clock: Clock


@dataclass(frozen=True)
class MonitoredSource:
    """is_installed: as far as is known. fill: of the buffer, where the source has one.

    has_synced: whether all its reports were read once. remedy: how a person makes reports that can be read.
    """

    origin: Origin
    monitor: SourceMonitor
    is_installed: Callable[[], Awaitable[bool]]
    fill: Callable[[], Fill] | None = None
    has_synced: Callable[[], bool] = lambda: True
    remedy: str = ""


class PullPipeline:
    group = Group.LEADER

    def __init__(self, watcher: Watcher, own: WatcherSettings, cluster: Cluster, services: Services) -> None:
        settings, clock = services.settings, services.clock
        self.origin = origin = Origin(cluster.id, watcher.name)
        self._services = services
        self._task = f"source/{origin}"
        self._remedy = watcher.remedy
        self._monitor = SourceMonitor(origin, clock, silence_secs=own.silence_after_secs, needs_usual_pause=not watcher.is_steady)
        kinds = scopes_of(watcher, settings)
        policy = PullPolicy(
            own.min_severity,
            grace_secs=settings.resolve_grace_secs,
            scopes=frozenset(Scope(kind.full_name, namespace) for kind, namespace in kinds),
            is_confined=bool(settings.watch_namespaces),
            regroup=watcher.regroup if cluster.owners is None else None,
        )
        self._reconciler = Reconciler(
            origin,
            policy,
            records=services.records,
            writer=services.writer,
            accounts=services.ledger,
            capacity=services.budget,
            clock=clock,
        )
        interval = Interval(settings.watch_interval_secs, settings.round_timeout_secs)
        self._informers = [
            ReportInformer(
                cluster,
                kind,
                watcher,
                self._reconciler,
                namespace=namespace,
                ask_again_secs=interval.interval_secs,
                clock=clock,
                observe=self._monitor.observe,
                rejected=self._monitor.rejected,
            )
            for kind, namespace in kinds
        ]
        self._detector = Detector(cluster, watcher, self._informers, namespace=_pods_namespace(own, settings))
        self._loop = ReconcileLoop(
            origin, self._informers, self._reconciler, interval, counts=self._counts, detect=self._detector.detect, clock=clock
        )

    @property
    def monitored(self) -> MonitoredSource:
        async def is_installed() -> bool:
            return self._detector.is_installed

        def has_synced() -> bool:
            return all(informer.has_synced for informer in self._informers)

        return MonitoredSource(self.origin, self._monitor, is_installed, has_synced=has_synced, remedy=self._remedy)

    async def start(self) -> None:
        # While this process did not work, another one may have changed records.
        self._reconciler.recheck_all()
        self._services.records.call_when_changed(self.origin, self._reconciler.recheck)
        self._services.supervisor.start(f"{self._task}/reconcile", self._loop.run)
        for informer in self._informers:
            self._services.supervisor.start(f"{self._task}/{informer.scope}", informer.follow)

    async def stop(self) -> None:
        await self._services.supervisor.stop(f"{self._task}/")
        self._services.records.call_when_changed(self.origin, None)

    def _counts(self) -> dict[str, int]:
        counts = self._services.ledger.page(self.origin)
        return counts | {"resolved": self._reconciler.resolved, "reopened": self._reconciler.reopened}


class PushPipeline:
    """The processor works in the processes of its role; what only detects and resolves works where the leader is."""

    def __init__(self, watcher: PushWatcher, own: PushSettings, services: Services, *, cluster: Cluster | None) -> None:
        """cluster: None: nothing detects the tool's pods. ConfigError: a setting of the watcher cannot be used."""
        settings, clock = services.settings, services.clock
        self.origin = origin = Origin(settings.cluster_id, watcher.name)
        self._records = services.records
        self._inbox: Inbox = (
            services.spool.inbox(origin) if services.spool else services.memory.inbox(origin, capacity_events=own.buffer_events)
        )
        intake = EventIntake(origin, self._inbox, services.ledger, clock=clock, sender_retries=watcher.sender_retries)
        self._monitor = SourceMonitor(origin, clock, silence_secs=own.silence_after_secs, needs_usual_pause=not watcher.is_steady)
        self.webhook = Webhook(
            origin,
            watcher,
            own,
            identity=cluster.identity if cluster else SelfIdentity(),
            intake=intake,
            accounts=services.ledger,
            monitor=self._monitor,
        )
        self.processor = PushProcessor(
            origin,
            watcher,
            self._inbox,
            store=services.store,
            records=services.records,
            cache=services.cache,
            writer=services.writer,
            accounts=services.ledger,
            capacity=services.budget,
            supervisor=services.supervisor,
            clock=clock,
            coalesce_secs=settings.coalesce_window_secs,
            window_secs=settings.dedup_window_secs,
        )
        self.inactivity = InactivityResolver(
            origin, services.records, services.writer, services.supervisor, resolve_after_secs=own.resolve_after_secs, clock=clock
        )
        self._detector = Detector(cluster, watcher, (), namespace=_pods_namespace(own, settings)) if cluster else None
        self.detection = self._detection_task(services)

    @property
    def monitored(self) -> MonitoredSource:
        async def is_installed() -> bool:
            """A tool whose pods cannot be seen, such as the API server, is there if it ever posted."""
            is_detected = self._detector is not None and self._detector.is_installed
            return is_detected or self._monitor.last_post_at is not None or await self._records.has_any(self.origin)

        return MonitoredSource(self.origin, self._monitor, is_installed, self.fill)

    def fill(self) -> Fill:
        return self._inbox.fill

    def _detection_task(self, services: Services) -> Task | None:
        """No reconcile loop detects a tool that posts."""
        if self._detector is None:
            return None
        detect = partial(self._detector.keep_detecting, interval_secs=services.settings.watch_interval_secs, clock=services.clock)
        # It ends where the tool has no namespace to search.
        return Task(f"source/{self.origin}/detect", detect, services.supervisor, group=Group.LEADER, may_end=True)


def _pods_namespace(own: WatcherSettings, settings: Settings) -> str:
    """Where a tool's pods are listed to detect it; empty where zenwatch may not list them."""
    return own.namespace if not settings.watch_namespaces or own.namespace in settings.watch_namespaces else ""
