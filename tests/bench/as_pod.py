"""`zenwatch run` as in a pod: python -m tests.bench.as_pod FOLDER, where FOLDER is laid out as Kubernetes mounts it.

A pod finds its account at a fixed path; here that path is moved, everything else is the command that a pod runs.
SIGUSR1 makes it say on stderr for how long at most its loop was held since the last time, as a log line `loop_held`.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path

# structlog imports rich where it is installed. A development tool brought it here; an image does not have it.
sys.modules["rich"] = None  # type: ignore[assignment]

from zenwatch.cli import main  # noqa: E402
from zenwatch.kube import access  # noqa: E402
from zenwatch.runtime import app  # noqa: E402

TICK_SECS = 0.002


class LoopProbe:
    """A timer that runs in the loop all the time: how late it comes is how long something else held the loop."""

    def __init__(self) -> None:
        self._held_secs = 0.0
        self._due = time.perf_counter()
        self._cpu = time.thread_time()

    def start(self) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._tell)
        self._tick()

    def _tick(self) -> None:
        # Only what this thread ran counts: on shared cores the machine itself is late as well.
        now, cpu = time.perf_counter(), time.thread_time()
        self._held_secs = max(self._held_secs, min(now - self._due, cpu - self._cpu))
        self._due, self._cpu = now + TICK_SECS, cpu
        asyncio.get_running_loop().call_later(TICK_SECS, self._tick)

    def _tell(self) -> None:
        print(json.dumps({"event": "loop_held", "level": "info", "held_ms": self._held_secs * 1000}), file=sys.stderr, flush=True)
        self._held_secs = 0.0


async def _start_probed(self: app.App) -> None:
    LoopProbe().start()
    await _start(self)


if __name__ == "__main__":
    access.in_pod.__defaults__ = (Path(sys.argv[1]),)
    if os.environ.get("BENCH_PROBE"):
        _start = app.App.start
        app.App.start = _start_probed  # type: ignore[method-assign]
    sys.exit(main(["run"]))
