"""The wiring diagram: which room hands what to which, in what order they start, and in what order they stop.

Reports ──▶ Reconciler ──▶ Writer ──▶ CrdStore ──▶ the API server
  (list,      │     ▲                                  │
   watch)     ▼     └──── StoredIndex ◀────────────────┘
            Dedup                 (list, watch of our own records)
"""

import asyncio
import re
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points

import structlog

from zenwatch.contract import Clock, Watcher
from zenwatch.errors import BadInput, ConfigError
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.metrics import Ledger
from zenwatch.settings import Settings, WatcherSettings, watcher_prefix
from zenwatch.sources.detect import Detector, survey
from zenwatch.sources.objects import Place, Reports
from zenwatch.sources.poll import Rhythm, Round
from zenwatch.store.crd import CrdStore
from zenwatch.store.index import StoredIndex
from zenwatch.store.writer import Writer
from zenwatch.supervise import Supervisor, SystemClock, contained
from zenwatch.transform.dedup import Dedup
from zenwatch.transform.reconcile import Origin, Reconciler

log = structlog.get_logger(room="app")


def installed_watchers() -> list[Watcher]:
    """All watchers that installed packages declare in the entry-point group zenwatch.watchers, ours among them.

    ConfigError names the entry point that cannot be used and why: a tool that is silently not watched looks like a safe one.
    """
    watchers: list[Watcher] = []
    declared_by: dict[str, str] = {}
    for point in sorted(entry_points(group="zenwatch.watchers"), key=lambda point: point.name):
        where = f"the entry point {point.name} ({point.value}) of {point.dist.name if point.dist else 'an unknown package'}"
        try:
            with contained(where):
                watcher = point.load()
        except BadInput as exc:
            raise ConfigError(f"{exc}. Mend that package or uninstall it.") from exc
        if not isinstance(watcher, Watcher):
            raise ConfigError(f"{where} is not a zenwatch.contract.Watcher. Mend that package or uninstall it.")
        if reason := _why_not(watcher.name, declared_by):
            raise ConfigError(f"{where}: {reason}. Mend that package or uninstall it.")
        watchers.append(watcher)
        declared_by[watcher.name] = where
    return watchers


def _why_not(name: str, declared_by: Mapping[str, str]) -> str:
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):
        return f"the name {name!r} is no lower-case DNS label, and so no source of a record"
    if name in declared_by:
        return f"there is a watcher named {name} already, by {declared_by[name]}"
    if taken := WatcherSettings.variables(watcher_prefix(name)).keys() & Settings.variables().keys():
        return f"the name {name} would give {', '.join(sorted(taken))} a second meaning"
    return ""


class App:
    """One process: start() it, wait as long as you like, stop() it. environment: for the watchers' own settings."""

    def __init__(
        self,
        settings: Settings,
        access: Access,
        *,
        environment: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        watchers: Sequence[Watcher] | None = None,
    ) -> None:
        self.ledger = Ledger()
        self._settings = settings = settings.paced()
        self._clock = clock or SystemClock()
        self._supervisor = Supervisor()
        found = installed_watchers() if watchers is None else watchers
        self._watchers = [(watcher, settings_of(watcher, environment or {})) for watcher in found]
        reads = sum(len(self._places_of(watcher)) for watcher, _ in self._watchers)
        self._client = KubeClient(
            access,
            timeout_secs=settings.api_timeout_secs,
            # A watch holds its connection: one per place and per part of the store, and some for lists and detection.
            connections=settings.write_concurrency + reads + len(settings.watch_namespaces) + 8,
            rate_per_sec=settings.api_rate,
        )
        self._store = CrdStore(
            self._client, cluster_id=settings.cluster_id, own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces
        )
        self._index = StoredIndex(self._store)
        self._dedup = Dedup(self._index)
        self._writer = Writer(self._store, queue_writes=2 * settings.write_concurrency, clock=self._clock)

    def start(self) -> None:
        """Downstream first: whoever hands something on finds its receiver at work."""
        for worker in range(self._settings.write_concurrency):
            self._supervisor.start(f"write/{worker}", self._writer.work)
        for part in self._store.parts:
            self._supervisor.start(f"index/{part}", partial(self._index.follow, part))
        for watcher, own in self._watchers:
            if own.enabled:
                self._start_pull(watcher, own)

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

    def _start_pull(self, watcher: Watcher, own: WatcherSettings) -> None:
        origin = Origin(watcher.name, self._settings.cluster_id, own.min_severity)
        intake = Reconciler(origin, index=self._index, dedup=self._dedup, writer=self._writer, ledger=self.ledger, clock=self._clock)
        self._index.call_when_gone(intake.look_again)
        rhythm = Rhythm(self._settings.watch_interval_secs, self._settings.round_timeout_secs)
        kinds = [
            Reports(self._client, place, watcher, intake, ask_again_secs=rhythm.interval_secs, clock=self._clock)
            for place in self._places_of(watcher)
        ]
        namespaces = self._settings.watch_namespaces
        pods_in = own.namespace if not namespaces or own.namespace in namespaces else ""
        detector = Detector(self._client, watcher, kinds, namespace=pods_in)
        page = partial(self.ledger.page, watcher.name)
        rounds = Round(watcher.name, kinds, intake, rhythm, page=page, look=detector.look, clock=self._clock)
        self._supervisor.start(f"source/{watcher.name}/round", rounds.keep_going)
        for kind in kinds:
            self._supervisor.start(f"source/{watcher.name}/{kind.place}", kind.follow)

    def _places_of(self, watcher: Watcher) -> list[Place]:
        namespaces = self._settings.watch_namespaces
        kinds = [kind for kind in watcher.reads if kind.namespaced or not namespaces]
        return [Place(kind, namespace) for kind in kinds for namespace in namespaces or ("",)]


def watcher_defaults(watcher: Watcher) -> dict[str, str]:
    """What a watcher declares, by the variables that override it."""
    prefix = watcher_prefix(watcher.name)
    return {f"{prefix}MIN_SEVERITY": watcher.min_severity.value, f"{prefix}NAMESPACE": watcher.namespace}


def settings_of(watcher: Watcher, environment: Mapping[str, str]) -> WatcherSettings:
    """The watcher's own defaults, and what the user set."""
    return WatcherSettings.read(environment, prefix=watcher_prefix(watcher.name), defaults=watcher_defaults(watcher))


async def look_around(settings: Settings, access: Access, watchers: Sequence[tuple[Watcher, WatcherSettings]]) -> dict[str, list[str]]:
    """What each watcher would find in the cluster now, as lines for a person."""
    client = KubeClient(access, timeout_secs=settings.api_timeout_secs, connections=8)
    try:
        return {watcher.name: [line async for line in survey(client, watcher, namespace=own.namespace)] for watcher, own in watchers}
    finally:
        await client.close()


async def run_until(stop: asyncio.Event, settings: Settings, access: Access, environment: Mapping[str, str]) -> bool:
    """Run until stop is set, then end in order. False: writes were cut off at the deadline."""
    app = App(settings, access, environment=environment)
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
