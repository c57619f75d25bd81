"""A `zenwatch run` process, and waits for what it does."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.support.tasks import PATIENCE_SECS

T = TypeVar("T")

PROBE_EVERY_SECS = 0.1
LEDGER_LINES = ("received", "stored", "repeated", "filtered", "rejected", "dead_lettered", "lost", "in_flight")


def eventually(probe: Callable[[], T], *, within_secs: float = PATIENCE_SECS) -> T:
    """Call probe() again and again, and return its first truthy result. Nothing announces when an API server is done."""
    deadline = time.monotonic() + within_secs
    while True:
        if seen := probe():
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"still {seen!r} after {within_secs} s")
        time.sleep(PROBE_EVERY_SECS)


# Each process listens on a port of its own, and waits for no other one: many tests kill theirs, which releases no lease.
_DEFAULTS = {"WATCH_INTERVAL": "200ms", "LOG_FORMAT": "json", "LISTEN": "127.0.0.1:0", "ALLOW_SECOND": "true"}


class Zenwatch:
    def __init__(self, kubeconfig: Path, log_file: Path, settings: dict[str, str]) -> None:
        self._log_file = log_file
        self._has_spool = bool(settings.get("SPOOL_DIR"))
        environment = os.environ | _DEFAULTS | settings
        command = [sys.executable, "-m", "zenwatch", "run", "--kubeconfig", str(kubeconfig)]
        with log_file.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def text(self) -> str:
        """Its whole output, unchanged."""
        return self._log_file.read_text()

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """The log lines so far; a line that is not JSON fails the test."""
        # The last line may be incomplete: it is still being written, or the process was killed.
        lines = [json.loads(line) for line in self._log_file.read_text().splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in lines if event is None or line["event"] == event]

    def wait_for_log(self, event: str) -> dict[str, Any]:
        return eventually(lambda: self.log(event))[-1]

    def wait_for_stored(self, count: int) -> None:
        """Wait until the rounds together have stored so many findings."""
        eventually(lambda: sum(line["stored"] for line in self.log("round_done")) >= count)

    @property
    def url(self) -> str:
        """The address that it listens on, without a slash at the end."""
        return str(self.wait_for_log("listening")["address"])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def require_balanced_ledger(self) -> None:
        """Check the ledger that it logged at its end: no count is negative, and without a spool nothing that was pushed is in flight.

        in_flight is what was received minus what was settled: it is negative if an event was settled twice.
        """
        pages = [json.loads(line) for line in self.text().splitlines() if '"event": "ledger"' in line and line.endswith("}")]
        counts = {page["source"]: {line: page[line] for line in LEDGER_LINES} for page in pages}
        assert all(count >= 0 for lines in counts.values() for count in lines.values()), counts
        if not self._has_spool:
            assert all(counts[source]["in_flight"] == 0 for source in ("falco", "audit") if source in counts), counts

    def stop(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(PATIENCE_SECS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
