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
from tests.support.live.process import LEDGER_LINES, eventually
from tests.support.tasks import PATIENCE_SECS
from zenwatch.kube.access import from_kubeconfig
from zenwatch.metrics import REPORTS_CACHED
from zenwatch.wiring.in_cluster import InClusterApp
from zenwatch.wiring.settings import Settings

T = TypeVar("T")
PULL_SOURCES = ("trivy", "kyverno", "kube-bench", "checkov")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The loop of the whole test run: TLS connections are closed only after zenwatch has ended."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="zenwatch", daemon=True).start()
    return loop


def _in_loop(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result(PATIENCE_SECS)


class InProcess:
    """Runs from start() to stop(). Only one may run at a time, because its log and its metrics are those of the process."""

    def __init__(self, kubeconfig: Path, clock: MovedClock, settings: Mapping[str, str]) -> None:
        self.clock = clock
        self._kubeconfig = str(kubeconfig)
        self._environment = {"WATCH_INTERVAL": "100ms", "LISTEN": "127.0.0.1:0", "ALLOW_SECOND": "true", **settings}
        self.cluster_id = self._environment.get("CLUSTER_ID", "local")
        self._app: InClusterApp | None = None
        self._ending = ExitStack()
        self._lines: list[Any] = []

    def start(self) -> Self:
        """Return when every pull source has done its first round."""
        before = {source: self._rounds(source) for source in PULL_SOURCES}
        # As in a new process. Counters only grow, so compare them with what they were.
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
        """Stop in order, and check that the ledger balances. The second call does nothing."""
        app, self._app = self._app, None
        with self._ending:
            has_drained = app is None or _in_loop(app.stop())
        for line in self._lines:
            print(line)  # noqa: T201  pytest shows it where a test fails
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
        """The log lines so far that have this name and these keys."""
        return [line for line in list(self._lines) if line["event"] == event and keys.items() <= line.items()]

    def wait_for_log(self, event: str, **keys: Any) -> Any:
        """Wait for such a line, and return the last one."""
        return eventually(lambda: self.log(event, **keys))[-1]

    def wait_for_state(self, resource: str, state: str) -> None:
        """Wait until this is the state of the kind."""

        def is_so() -> bool:
            changes = self.log("reports_state_changed", resource=resource)
            return bool(changes) and changes[-1]["state"] == state

        eventually(is_so)

    def wait_for_rounds(self, source: str = "trivy") -> None:
        """Wait until a round that began after this call has ended."""
        enough = self._rounds(source) + 2
        eventually(lambda: self._rounds(source) >= enough)

    def advance(self, secs: float, *, source: str = "trivy") -> None:
        """Let so much time pass, and wait until a round that began after that has ended."""
        self.clock.advance(secs=secs)
        self.wait_for_rounds(source)

    @contextmanager
    def sees(self, reports: int, *, source: str = "trivy") -> Iterator[None]:
        """Wait at the end of the block until the cache has so many more reports than at its beginning; negative: fewer."""
        wanted = self._cache(source) + reports
        yield
        eventually(lambda: self._cache(source) == wanted)

    @property
    def url(self) -> str:
        """The address that it listens on, without a slash at the end."""
        return str(self.wait_for_log("listening")["address"])

    def _rounds(self, source: str) -> float:
        labels = {"cluster_id": self.cluster_id, "source": source, "result": "done"}
        return REGISTRY.get_sample_value("zenwatch_rounds_total", labels) or 0.0

    def _cache(self, source: str) -> float:
        return REGISTRY.get_sample_value("zenwatch_reports_cached", {"cluster_id": self.cluster_id, "source": source}) or 0.0


def _require_balanced_ledger(app: InClusterApp) -> None:
    pages = {origin: app.app.ledger.page(origin) for origin in app.app.ledger.origins}
    counts = {source: {line: page[line] for line in LEDGER_LINES} for source, page in pages.items()}
    assert all(count >= 0 for lines in counts.values() for count in lines.values()), counts
    assert all(lines["in_flight"] == 0 for lines in counts.values()), counts
