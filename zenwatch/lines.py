"""One line per watcher: the rooms between its tool and the writer, joined.

Pull:  Reports ──▶ Reconciler ──▶ writer       (a round calls settle)
Push:  Webhook ──▶ Stream ──▶ writer           (an inbox stands in the stream: memory, or the spool)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from zenwatch.buffer.inbox import MemoryInbox
from zenwatch.buffer.spool import Spool
from zenwatch.contract import Circumstances, Clock, FindsOwners, Inbox, PushWatcher, Watcher
from zenwatch.kube.client import KubeClient
from zenwatch.metrics import Ledger
from zenwatch.model.parcel import Fill
from zenwatch.settings import PushSettings, Settings, WatcherSettings
from zenwatch.sources.detect import Detector
from zenwatch.sources.objects import Place, Reports
from zenwatch.sources.poll import Rhythm, Round
from zenwatch.sources.voice import Voice
from zenwatch.sources.webhook import Webhook
from zenwatch.store.budget import Budget
from zenwatch.store.crd import CrdStore
from zenwatch.store.index import StoredIndex
from zenwatch.store.writer import Writer
from zenwatch.supervise import Supervisor
from zenwatch.transform.dedup import Dedup
from zenwatch.transform.fates import Fates
from zenwatch.transform.quiet import Quiet
from zenwatch.transform.reconcile import Origin, Reconciler
from zenwatch.transform.stream import Stream


@dataclass(frozen=True)
class Trunk:
    """What all lines lead into."""

    settings: Settings
    client: KubeClient
    store: CrdStore
    index: StoredIndex
    dedup: Dedup
    writer: Writer
    spool: Spool | None
    ledger: Ledger
    fates: Fates
    clock: Clock
    budget: Budget
    owners: FindsOwners | None = None

    @property
    def rhythm(self) -> Rhythm:
        return Rhythm(self.settings.watch_interval_secs, self.settings.round_timeout_secs)

    def pods_in(self, own: WatcherSettings) -> str:
        """Where a tool's pods are looked for; empty where we may not."""
        namespaces = self.settings.watch_namespaces
        return own.namespace if not namespaces or own.namespace in namespaces else ""


def places_of(watcher: Watcher, settings: Settings) -> list[Place]:
    """Where its kinds are read: in the whole cluster, or in each namespace that we are confined to."""
    namespaces = settings.watch_namespaces
    kinds = [kind for kind in watcher.reads if kind.namespaced or not namespaces]
    return [Place(kind, namespace) for kind in kinds for namespace in namespaces or ("",)]


@dataclass(frozen=True)
class Listening:
    """What is listened to of one source. is_installed: as far as is known. fill: of its buffer, where it has one."""

    voice: Voice
    is_installed: Callable[[], bool]
    fill: Callable[[], Fill] | None = None


def start_pull(watcher: Watcher, own: WatcherSettings, trunk: Trunk, supervisor: Supervisor) -> Listening:
    settings, places = trunk.settings, places_of(watcher, trunk.settings)
    origin = Origin(
        watcher.name,
        settings.cluster_id,
        own.min_severity,
        grace_secs=settings.resolve_grace_secs,
        places=frozenset(map(str, places)),
        is_confined=bool(settings.watch_namespaces),
    )
    intake = Reconciler(origin, trunk)
    voice = Voice(watcher.name, trunk.clock, silence_secs=own.silence_after_secs, learns_only=not watcher.is_steady)
    trunk.index.call_when_gone(intake.look_again)
    rhythm = trunk.rhythm
    kinds = [
        Reports(
            trunk.client,
            place,
            watcher,
            intake,
            ask_again_secs=rhythm.interval_secs,
            clock=trunk.clock,
            owners=trunk.owners,
            hear=voice.hear,
        )
        for place in places
    ]
    detector = Detector(trunk.client, watcher, kinds, namespace=trunk.pods_in(own))

    def page() -> dict[str, int]:
        return trunk.ledger.page(watcher.name) | {"resolved": intake.resolved, "reopened": intake.reopened}

    rounds = Round(watcher.name, kinds, intake, rhythm, page=page, look=detector.look, clock=trunk.clock)
    supervisor.start(f"source/{watcher.name}/round", rounds.keep_going)
    for kind in kinds:
        supervisor.start(f"source/{watcher.name}/{kind.place}", kind.follow)
    return Listening(voice, lambda: detector.is_installed)


class PushLine:
    def __init__(self, watcher: PushWatcher, own: PushSettings, trunk: Trunk, circumstances: Circumstances) -> None:
        """ConfigError: a setting of the watcher cannot be used."""
        self.name = watcher.name
        self._trunk = trunk
        spool = trunk.spool
        self._inbox: Inbox = spool.inbox(watcher.name) if spool else MemoryInbox(watcher.name, capacity_events=own.buffer_events)
        settings = trunk.settings
        self.stream = Stream(
            watcher,
            cluster_id=settings.cluster_id,
            inbox=self._inbox,
            rooms=trunk,
            coalesce_secs=settings.coalesce_window_secs,
            window_secs=settings.dedup_window_secs,
        )
        self._quiet = Quiet(watcher.name, quiet_secs=own.quiet_secs, index=trunk.index, writer=trunk.writer, clock=trunk.clock)
        self._voice = Voice(watcher.name, trunk.clock, silence_secs=own.silence_after_secs, learns_only=not watcher.is_steady)
        self.hook = Webhook(watcher, own, circumstances, self.stream, trunk.fates, voice=self._voice)
        self._detector = Detector(trunk.client, watcher, (), namespace=trunk.pods_in(own))

    @property
    def listening(self) -> Listening:
        """Whose pods cannot be seen, such as the API server's, is there if it ever posted."""

        def is_installed() -> bool:
            has_posted = self._voice.last_post_at is not None
            return has_posted or self._detector.is_installed or bool(self._trunk.index.of_source(self.name))

        return Listening(self._voice, is_installed, self.fill)

    @property
    def fill(self) -> Callable[[], Fill]:
        return lambda: self._inbox.fill

    def start(self, supervisor: Supervisor) -> None:
        keep_looking = partial(self._detector.keep_looking, interval_secs=self._trunk.rhythm.interval_secs, clock=self._trunk.clock)
        supervisor.start(f"source/{self.name}/detect", keep_looking)
        supervisor.start(f"source/{self.name}/quiet", self._quiet.keep_looking)
        supervisor.start(f"stream/{self.name}/write", self.stream.write)
        supervisor.start(f"stream/{self.name}/take", self.stream.take)
