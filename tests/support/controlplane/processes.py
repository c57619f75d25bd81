"""Child processes that cannot outlive this one, and free ports for them.

In: a command line.  Out: a running process and its log file.
Owns: the process, in a session of its own, so that Ctrl-C reaches only us and we stop them in order.
Stops: SIGTERM, then SIGKILL after a deadline; if we are killed, the kernel kills them.
"""

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from tests.support.controlplane.errors import StartError

PR_SET_PDEATHSIG = 1
TAIL_LINES = 20
# Below the ports that Linux (from 32768) and macOS (from 49152) hand out for outgoing connections: while the API server
# is stopped, a client that dials its port again and again would otherwise get that very port, and connect to itself.
PORTS = range(20_000, 32_000)

# Loaded here and not in the forked child, where only the plainest calls are safe.
_prctl: Callable[[int, int], int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path], *, output: IO[Any] | None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """In a session of its own, dying with us. Linux ties it to the *thread* that starts it: start it from the main thread."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            # The parent may have died between fork and prctl: then no signal will ever come.
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509 - two system calls, no lock that another thread could hold
    )


def free_ports(count: int) -> list[int]:
    """Free on loopback a moment ago, and different. Two runs at once choose at random, so they hardly meet."""
    found: list[int] = []
    for port in random.sample(PORTS, 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == count:
            return found
    raise StartError(f"no {count} free ports on 127.0.0.1 between {PORTS.start} and {PORTS.stop}")


class Child:
    def __init__(self, name: str, command: Sequence[str | Path], *, log: Path | None, env: Mapping[str, str] | None = None) -> None:
        """Without a log it writes to our own stdout and stderr; without an env it gets ours."""
        self.name = name
        self._log = log
        self._asked_to_stop = False
        with contextlib.nullcontext() if log is None else log.open("ab") as output:
            self._process = spawn(command, output=output, env=env)

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: killed by that signal."""
        return self._process.poll()

    def failure(self) -> str | None:
        """A sentence and the tail of its log if it ended by itself."""
        if self.exit_code is None or self._asked_to_stop:
            return None
        return f"{self.name} ended by itself with {self.exit_code}.{self.tail()}"

    def tail(self) -> str:
        """The end of its log, indented, on lines of its own; empty if it has none."""
        if self._log is None:
            return ""
        lines = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "".join(f"\n  {line}" for line in [f"Last lines of {self._log.name}:", *lines])

    def stop(self, *, deadline_secs: float) -> int:
        """Return its exit code. A deadline of 0 kills at once, as a crash does."""
        self._asked_to_stop = self._asked_to_stop or self.exit_code is None
        try:
            if deadline_secs > 0:
                self._process.terminate()
                return self._process.wait(deadline_secs)
        except subprocess.TimeoutExpired:
            pass
        self._process.kill()
        return self._process.wait()
