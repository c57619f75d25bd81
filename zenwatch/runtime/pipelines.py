"""One line per watcher: the rooms between its tool and the writer, joined.

Pull:  Reports ──▶ Reconciler ──▶ writer       (a round calls settle)
Push:  Webhook ──▶ Stream ──▶ writer           (an inbox stands in the stream: memory, or the spool)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zenwatch.buffer.memory import MemoryInbox
from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.config.core import PushSettings, Settings, WatcherSettings
from zenwatch.contract import Clock, Inbox
from zenwatch.kube.cluster import Cluster
from zenwatch.kube.scopes import scopes_of
from zenwatch.metrics import Ledger
from zenwatch.model.queue import Fill
from zenwatch.model.refs import Origin as SourceOrigin
from zenwatch.model.refs import Scope
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.pull.dedup import Dedup
from zenwatch.processing.pull.reconciler import Origin, Reconciler
from zenwatch.processing.push.inactivity import InactivityResolver
from zenwatch.processing.push.intake import PushedEvents
from zenwatch.runtime.supervise import Supervisor
from zenwatch.sdk.watcher import PushWatcher, SelfIdentity, Watcher
from zenwatch.sources.monitor.source import SourceMonitor
from zenwatch.sources.pull.detection import Detector
from zenwatch.sources.pull.informer import ReportInformer
from zenwatch.sources.pull.reconcile_loop import Interval, ReconcileLoop
from zenwatch.sources.push.webhook import Webhook
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.store.crd.store import CrdStore
from zenwatch.store.writer import Writer


@dataclass(frozen=True)
class Services:
    """What all lines lead into."""

    settings: Settings
    cluster: Cluster
    store: CrdStore
    index: StoredIndex
    dedup: Dedup
    writer: Writer
    spool: Spool | None
    ledger: Ledger
    outcome_log: OutcomeLog
    clock: Clock
    budget: Budget

    @property
    def interval(self) -> Interval:
        return Interval(self.settings.watch_interval_secs, self.settings.round_timeout_secs)

    def pods_in(self, own: WatcherSettings) -> str:
        """Where a tool's pods are looked for; empty where we may not."""
        namespaces = self.settings.watch_namespaces
        return own.namespace if not namespaces or own.namespace in namespaces else ""


@dataclass(frozen=True)
class MonitoredSource:
    """What is listened to of one source. is_installed: as far as is known. fill: of its buffer, where it has one."""

    monitor: SourceMonitor
    is_installed: Callable[[], bool]
    fill: Callable[[], Fill] | None = None


def start_pull_pipeline(watcher: Watcher, own: WatcherSettings, services: Services, supervisor: Supervisor) -> MonitoredSource:
    settings, scopes = services.settings, scopes_of(watcher, services.settings)
    origin = Origin(
        watcher.name,
        settings.cluster_id,
        own.min_severity,
        grace_secs=settings.resolve_grace_secs,
        places=frozenset(str(Scope(kind.full_name, namespace)) for kind, namespace in scopes),
        is_confined=bool(settings.watch_namespaces),
    )
    intake = Reconciler(origin, services)
    monitor = SourceMonitor(
        SourceOrigin(services.settings.cluster_id, watcher.name),
        services.clock,
        silence_secs=own.silence_after_secs,
        needs_habit=not watcher.is_steady,
    )
    services.index.call_when_gone(intake.look_again)
    interval = services.interval
    kinds = [
        ReportInformer(
            services.cluster,
            resource,
            watcher,
            intake,
            namespace=namespace,
            ask_again_secs=interval.interval_secs,
            clock=services.clock,
            observe=monitor.observe,
        )
        for resource, namespace in scopes
    ]
    detector = Detector(services.cluster, watcher, kinds, namespace=services.pods_in(own))

    def page() -> dict[str, int]:
        return services.ledger.page(watcher.name) | {"resolved": intake.resolved, "reopened": intake.reopened}

    rounds = ReconcileLoop(monitor.origin, kinds, intake, interval, counts=page, detect=detector.detect, clock=services.clock)
    supervisor.start(f"source/{watcher.name}/round", rounds.run)
    for kind in kinds:
        supervisor.start(f"source/{watcher.name}/{kind.scope}", kind.follow)
    return MonitoredSource(monitor, lambda: detector.is_installed)


class PushPipeline:
    def __init__(self, watcher: PushWatcher, own: PushSettings, services: Services, self_identity: SelfIdentity) -> None:
        """ConfigError: a setting of the watcher cannot be used."""
        self.name = watcher.name
        self._services = services
        spool = services.spool
        self._inbox: Inbox = spool.inbox(watcher.name) if spool else MemoryInbox(watcher.name, capacity_events=own.buffer_events)
        settings = services.settings
        self.stream = PushedEvents(
            watcher,
            cluster_id=settings.cluster_id,
            inbox=self._inbox,
            services=services,
            coalesce_secs=settings.coalesce_window_secs,
            window_secs=settings.dedup_window_secs,
        )
        self._quiet = InactivityResolver(
            watcher.name, resolve_after_secs=own.resolve_after_secs, index=services.index, writer=services.writer, clock=services.clock
        )
        self._monitor = SourceMonitor(
            SourceOrigin(services.settings.cluster_id, watcher.name),
            services.clock,
            silence_secs=own.silence_after_secs,
            needs_habit=not watcher.is_steady,
        )
        self.hook = Webhook(watcher, own, self_identity, self.stream, services.outcome_log, monitor=self._monitor)
        self._detector = Detector(services.cluster, watcher, (), namespace=services.pods_in(own))

    @property
    def monitored(self) -> MonitoredSource:
        """Whose pods cannot be seen, such as the API server's, is there if it ever posted."""

        def is_installed() -> bool:
            has_posted = self._monitor.last_post_at is not None
            return has_posted or self._detector.is_installed or bool(self._services.index.of_source(self.name))

        return MonitoredSource(self._monitor, is_installed, self.fill)

    @property
    def fill(self) -> Callable[[], Fill]:
        return lambda: self._inbox.fill

    def start(self, supervisor: Supervisor) -> None:
        keep_detecting = partial(
            self._detector.keep_detecting, interval_secs=self._services.interval.interval_secs, clock=self._services.clock
        )
        supervisor.start(f"source/{self.name}/detect", keep_detecting)
        supervisor.start(f"source/{self.name}/quiet", self._quiet.keep_looking)
        supervisor.start(f"stream/{self.name}/write", self.stream.write)
        supervisor.start(f"stream/{self.name}/take", self.stream.take)
