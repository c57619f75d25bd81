"""The wiring diagram: which room hands what to which, in what order they start, and in what order they stop.

Reports ──▶ Reconciler ──▶ Writer ──▶ CrdStore ──▶ the API server
  (list,      │     ▲                                  │
   watch)     ▼     └──── StoredIndex ◀────────────────┘
            Dedup                 (list, watch of our own records)
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from importlib.metadata import entry_points

import structlog

from zenwatch.contract import Clock, Watcher
from zenwatch.errors import ConfigError
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.metrics import Ledger
from zenwatch.model.finding import Severity
from zenwatch.settings import Settings
from zenwatch.sources.objects import Reports
from zenwatch.sources.poll import Round
from zenwatch.store.crd import CrdStore
from zenwatch.store.index import StoredIndex
from zenwatch.store.writer import Writer
from zenwatch.supervise import Supervisor, SystemClock
from zenwatch.transform.dedup import Dedup
from zenwatch.transform.reconcile import Origin, Reconciler

log = structlog.get_logger(room="app")

# Lists and watches beside the writes: one watch per kind and one for our own records.
READ_CONNECTIONS = 16


def installed_watchers() -> list[Watcher]:
    """All watchers that installed packages declare in the entry-point group zenwatch.watchers, ours among them."""
    watchers = []
    for point in sorted(entry_points(group="zenwatch.watchers"), key=lambda point: point.name):
        watcher = point.load()
        if not isinstance(watcher, Watcher):
            raise ConfigError(f"the entry point {point.name} ({point.value}) is not a zenwatch.contract.Watcher")
        watchers.append(watcher)
    return watchers


class App:
    """One process: start() it, wait as long as you like, stop() it."""

    def __init__(
        self, settings: Settings, access: Access, *, clock: Clock | None = None, watchers: Sequence[Watcher] | None = None
    ) -> None:
        self.ledger = Ledger()
        self._settings = settings
        self._clock = clock or SystemClock()
        self._supervisor = Supervisor()
        connections = settings.write_concurrency + READ_CONNECTIONS
        self._client = KubeClient(access, timeout_secs=settings.api_timeout_secs, connections=connections)
        self._store = CrdStore(self._client, cluster_id=settings.cluster_id, own_namespace=settings.own_namespace)
        self._index = StoredIndex(self._store)
        self._dedup = Dedup(self._index)
        self._writer = Writer(self._store, queue_writes=2 * settings.write_concurrency, clock=self._clock)
        self._watchers = installed_watchers() if watchers is None else watchers

    def start(self) -> None:
        """Downstream first: whoever hands something on finds its receiver at work."""
        for worker in range(self._settings.write_concurrency):
            self._supervisor.start(f"write/{worker}", self._writer.work)
        self._supervisor.start("index", self._index.follow)
        for watcher in self._watchers:
            self._start_pull(watcher)

    async def stop(self) -> bool:
        """Upstream first. False: SHUTDOWN_TIMEOUT passed and writes were cut off; they are made again at the next start."""
        await self._supervisor.stop("source/")
        drained = True
        try:
            async with asyncio.timeout(self._settings.shutdown_timeout_secs):
                await self._writer.drain()
        except TimeoutError:
            drained = False
        await self._supervisor.stop()
        await self._client.close()
        for source in self.ledger.sources:
            log.info("ledger", source=source, **self.ledger.page(source))
        return drained

    def _start_pull(self, watcher: Watcher) -> None:
        origin = Origin(watcher.name, self._settings.cluster_id, self._min_severity_of(watcher))
        intake = Reconciler(origin, index=self._index, dedup=self._dedup, writer=self._writer, ledger=self.ledger, clock=self._clock)
        self._index.call_when_gone(intake.look_again)
        interval_secs = self._settings.watch_interval_secs
        kinds = [
            Reports(self._client, resource, watcher, intake, ask_again_secs=interval_secs, clock=self._clock) for resource in watcher.reads
        ]
        rounds = Round(watcher.name, kinds, intake, lambda: self.ledger.page(watcher.name), interval_secs=interval_secs, clock=self._clock)
        self._supervisor.start(f"source/{watcher.name}/round", rounds.keep_going)
        for kind, resource in zip(kinds, watcher.reads, strict=True):
            self._supervisor.start(f"source/{watcher.name}/{resource.full_name}", kind.follow)

    def _min_severity_of(self, watcher: Watcher) -> Severity:
        return self._settings.trivy_min_severity if watcher.name == "trivy" else Severity.INFO


async def run_until(stop: asyncio.Event, settings: Settings, access: Access) -> bool:
    """Run until stop is set, then end in order. False: writes were cut off at the deadline."""
    app = App(settings, access)
    app.start()
    await stop.wait()
    log.info("stopping", wait_secs=settings.shutdown_timeout_secs)
    return await app.stop()


def run_loop(work: Callable[[], Coroutine[None, None, bool]]) -> bool:
    """Run on uvloop where there is one."""
    if sys.implementation.name != "cpython":
        return asyncio.run(work())
    import uvloop  # noqa: PLC0415  not on every platform

    return bool(uvloop.run(work()))
