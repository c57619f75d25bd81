"""`zenwatch run` as in a pod: python -m tests.bench.as_pod FOLDER, where FOLDER is laid out as Kubernetes mounts it.

A pod finds its account at a fixed path; here the path is another one, and the rest is the command that a pod runs.
On SIGUSR1 it logs `loop_held` to stderr: the longest time that the loop was busy without a break since the last SIGUSR1.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Collection
from pathlib import Path

# structlog imports rich if it is installed. A development tool depends on it; an image does not have it.
sys.modules["rich"] = None  # type: ignore[assignment]

from zenwatch.cli import main  # noqa: E402
from zenwatch.contract import Group  # noqa: E402
from zenwatch.kube import access  # noqa: E402
from zenwatch.runtime.components import ALL_GROUPS  # noqa: E402
from zenwatch.wiring import app  # noqa: E402

TICK_SECS = 0.002


class LoopProbe:
    """A timer that always runs in the loop: it is late by the time that other work held the loop."""

    def __init__(self) -> None:
        self._held_secs = 0.0
        self._due = time.perf_counter()
        self._cpu = time.thread_time()

    def start(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._report)
        self._tick()

    def _tick(self) -> None:
        # Count only the CPU time of this thread: on shared cores the machine delays the timer, too.
        now, cpu = time.perf_counter(), time.thread_time()
        self._held_secs = max(self._held_secs, min(now - self._due, cpu - self._cpu))
        self._due, self._cpu = now + TICK_SECS, cpu
        asyncio.get_running_loop().call_later(TICK_SECS, self._tick)

    def _report(self) -> None:
        print(json.dumps({"event": "loop_held", "level": "info", "held_ms": self._held_secs * 1000}), file=sys.stderr, flush=True)
        self._held_secs = 0.0


async def _start_probed(self: app.App, groups: Collection[Group] = ALL_GROUPS) -> None:
    LoopProbe().start()
    await _start(self, groups)


if __name__ == "__main__":
    access.in_pod.__defaults__ = (Path(sys.argv[1]),)
    if os.environ.get("BENCH_PROBE"):
        _start = app.App.start
        app.App.start = _start_probed  # type: ignore[method-assign]
    sys.exit(main(["run"]))
