"""A zenwatch process under measurement: in a pod's configuration, watched through its log and /proc."""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.memory import Cgroup, Memory
from tests.support.controlplane.cluster import ControlPlane

TICKS_PER_SEC = os.sysconf("SC_CLK_TCK")
# 100,000 records at 300 a second take more than five minutes.
PATIENCE_SECS = 900.0


class Measured:
    def __init__(self, process: "subprocess.Popen[str]", cgroup: Cgroup) -> None:
        self._process = process
        self._cgroup = cgroup
        # Read all the time: a process whose log nobody reads stops at the next line.
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stderr or ():
            self._lines.put(line)
        self._lines.put("")

    def _next_line(self) -> str:
        """Empty when it has ended, or wrote nothing for too long."""
        try:
            return self._lines.get(timeout=PATIENCE_SECS)
        except queue.Empty:
            return ""

    def wait_for_stored(self, records: int) -> None:
        """Until the rounds together stored so many; what goes wrong meanwhile is passed on to stderr."""
        stored = 0
        deadline = time.monotonic() + PATIENCE_SECS
        while stored < records:
            line = self._next_line()
            if not line or time.monotonic() > deadline:
                raise RuntimeError(f"zenwatch stored {stored} of {records} records")
            fields = json.loads(line)
            stored += fields["stored"] if fields["event"] == "round_done" else 0
            if fields["level"] in ("warning", "error"):
                print(line.strip(), file=sys.stderr)

    def wait_for_round(self, source: str, *, received: int) -> None:
        """Until a round of that source is done that saw so many findings."""
        while self._until("round_done", source=source)["received"] < received:
            pass

    def status(self, url: str) -> dict[str, Any]:
        """What it reports of itself."""
        with urllib.request.urlopen(f"{url}/status", timeout=30) as answer:  # noqa: S310  our own
            report: dict[str, Any] = json.load(answer)
            return report

    def wait_until_read_back(self) -> None:
        """All stored records are known; before that nothing is written."""
        self._until("records_read_back")

    def url(self) -> str:
        """Where it listens."""
        return str(self._until("listening")["address"])

    def loop_held_ms(self) -> float:
        """For how long at most its loop was held since the last call; BENCH_PROBE must be set."""
        self._process.send_signal(signal.SIGUSR1)
        return float(self._until("loop_held")["held_ms"])

    def kill(self) -> None:
        """Without letting it drain."""
        self._process.kill()

    def _until(self, event: str, **keys: str) -> dict[str, Any]:
        """Its next log line of that name, with those keys."""
        deadline = time.monotonic() + PATIENCE_SECS
        while time.monotonic() < deadline:
            line = self._next_line()
            if not line:
                break
            fields: dict[str, Any] = json.loads(line)
            if fields["event"] == event and keys.items() <= fields.items():
                return fields
            if fields["level"] in ("warning", "error"):
                print(line.strip(), file=sys.stderr)
        raise RuntimeError(f"zenwatch never logged {event}")

    def rss_mb(self) -> float:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("zenwatch has ended")

    def memory(self) -> Memory:
        return Memory(self.rss_mb(), self._cgroup.working_set_mb(), self._cgroup.reason)

    def cpu_secs(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SEC


@contextmanager
def zenwatch_as_pod(cluster: ControlPlane, *, cores: set[int] | None = None, **settings: str) -> Iterator[Measured]:
    """Under the shipped RBAC, through the pod's files; its byte code is compiled, as in an image. cores: where it may run."""
    pod = cluster.in_pod("zenwatch", "zenwatch")
    environment = {name: value for name, value in os.environ.items() if name not in ("KUBECONFIG", "PYTHONDONTWRITEBYTECODE")}
    environment |= pod.env | {"LOG_FORMAT": "json", "LOG_LEVEL": "info", "LISTEN": "127.0.0.1:0", "WEBHOOK_AUTH": "none"}
    # Some measures kill it, and their next process would wait for the lease to run out.
    environment |= {"ALLOW_SECOND": "true"}
    # What is measured is stored, whatever the default budget; the budget has benchmarks of its own.
    environment |= {"RECORD_BUDGET": "1000000", "RECORD_BUDGET_BYTES": "8Gi"} | settings
    cgroup = Cgroup()
    command = cgroup.command([sys.executable, "-m", "tests.bench.as_pod", str(pod.folder)])
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    if cores:
        os.sched_setaffinity(process.pid, cores)
    try:
        yield Measured(process, cgroup)
    finally:
        process.terminate()
        process.wait(timeout=60)
        cgroup.remove()
