"""zenwatch in the test's own process, so that the test can move its clock; everything else is as in `zenwatch run`."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Self, TypeVar

from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support.fakes.clock import MovedClock
from tests.support.live.process import LEDGER_LINES, PATIENCE_SECS, eventually
from zenwatch.kube.access import from_kubeconfig
from zenwatch.metrics import REPORTS_CACHED
from zenwatch.runtime.in_cluster import InClusterApp
from zenwatch.runtime.settings import Settings

T = TypeVar("T")
PULL_SOURCES = ("trivy", "kyverno", "kube-bench", "checkov")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for the whole test run: TLS connections say goodbye to the API server after their program has ended."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="zenwatch", daemon=True).start()
    return loop


def _in_loop(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(PATIENCE_SECS)


class InProcess:
    """Runs from start() to stop(). One at a time: its log and its metrics are those of the process."""

    def __init__(self, kubeconfig: Path, clock: MovedClock, settings: Mapping[str, str]) -> None:
        self.clock = clock
        self._kubeconfig = str(kubeconfig)
        self._environment = {"WATCH_INTERVAL": "100ms", "LISTEN": "127.0.0.1:0", **settings}
        self._app: InClusterApp | None = None
        self._ending = ExitStack()
        self._lines: list[Any] = []

    def start(self) -> Self:
        """Return when every watcher has read its kinds and said what came of it."""
        before = {source: self._rounds(source) for source in PULL_SOURCES}
        # As in a new process; counters only ever grow, so they are compared with what they were.
        REPORTS_CACHED.clear()
        self._lines = self._ending.enter_context(capture_logs())
        try:
            self._app = _in_loop(self._start())
            eventually(lambda: all(self._rounds(source) > before[source] for source in PULL_SOURCES))
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """In order; what it took is settled, and the ledger says so. The second call does nothing."""
        app, self._app = self._app, None
        with self._ending:
            has_drained = app is None or _in_loop(app.stop())
        for line in self._lines:
            print(line)  # noqa: T201  told where a test fails
        self._lines = []
        assert has_drained
        if app is not None:
            _require_balanced_ledger(app)

    async def _start(self) -> InClusterApp:
        access = from_kubeconfig(self._kubeconfig, None)
        app = InClusterApp(Settings.read(self._environment), access, environment=self._environment, clock=self.clock)
        await app.start()
        return app

    # ------------------------------------------------------------ what it does

    def log(self, event: str, **keys: Any) -> list[Any]:
        """The lines so far of this name, that say this."""
        return [line for line in list(self._lines) if line["event"] == event and keys.items() <= line.items()]

    def wait_for_log(self, event: str, **keys: Any) -> Any:
        """The last one of them."""
        return eventually(lambda: self.log(event, **keys))[-1]

    def wait_for_state(self, resource: str, state: str) -> None:
        """Until that is what is known of the kind."""

        def is_so() -> bool:
            said = self.log("reports_state_changed", resource=resource)
            return bool(said) and said[-1]["state"] == state

        eventually(is_so)

    def wait_for_rounds(self, source: str = "trivy") -> None:
        """Until a round that began after this call has written all that it had to write."""
        enough = self._rounds(source) + 2
        eventually(lambda: self._rounds(source) >= enough)

    def advance(self, secs: float, *, source: str = "trivy") -> None:
        """Let so much time pass, and let the next round conclude from it what it will."""
        self.clock.advance(secs=secs)
        self.wait_for_rounds(source)

    @contextmanager
    def sees(self, reports: int, *, source: str = "trivy") -> Iterator[None]:
        """Wait at the end of the block until so many reports more than at its beginning are held; fewer where it is negative."""
        wanted = self._cache(source) + reports
        yield
        eventually(lambda: self._cache(source) == wanted)

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return str(self.wait_for_log("listening")["address"])

    @staticmethod
    def _rounds(source: str) -> float:
        return REGISTRY.get_sample_value("zenwatch_rounds_total", {"source": source, "result": "done"}) or 0.0

    @staticmethod
    def _cache(source: str) -> float:
        return REGISTRY.get_sample_value("zenwatch_reports_cached", {"source": source}) or 0.0


def _require_balanced_ledger(app: InClusterApp) -> None:
    pages = {origin: app.app.ledger.page(origin) for origin in app.app.ledger.origins}
    counts = {source: {line: page[line] for line in LEDGER_LINES} for source, page in pages.items()}
    assert all(count >= 0 for lines in counts.values() for count in lines.values()), counts
    assert all(lines["in_flight"] == 0 for lines in counts.values()), counts
