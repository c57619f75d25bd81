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
# Below the ports that Linux (from 32768) and macOS (from 49152) use for outgoing connections: while the API server is
# stopped, a client that connects to its port again and again could get that port itself, and connect to itself.
PORTS = range(20_000, 32_000)

# Loaded here, because in the forked child only simple system calls are safe.
_prctl: Callable[[int, int], int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path], *, output: IO[Any] | None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that dies with us. On Linux it dies with the *thread* that starts it: use the main thread."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _prctl is not None:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            # If the parent died between fork and prctl, no signal will ever come.
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
    """Return different ports that were free on loopback a moment ago. They are random, so two runs hardly choose the same ones."""
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
        """log None: it writes to our stdout and stderr. env None: it gets ours."""
        self.name = name
        self._log = log
        self._asked_to_stop = False
        with contextlib.nullcontext() if log is None else log.open("ab") as output:
            self._process = spawn(command, output=output, env=env)

    @property
    def exit_code(self) -> int | None:
        """None: it runs. Negative: that signal killed it."""
        return self._process.poll()

    def failure(self) -> str | None:
        """Return a sentence and the end of its log if it ended by itself."""
        if self.exit_code is None or self._asked_to_stop:
            return None
        return f"{self.name} ended by itself with {self.exit_code}.{self.tail()}"

    def tail(self) -> str:
        """Return the end of its log on indented lines; empty: it has no log."""
        if self._log is None:
            return ""
        lines = self._log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "".join(f"\n  {line}" for line in [f"Last lines of {self._log.name}:", *lines])

    def stop(self, *, deadline_secs: float) -> int:
        """Stop it and return its exit code. deadline_secs 0: kill it at once, as a crash does."""
        self._asked_to_stop = self._asked_to_stop or self.exit_code is None
        try:
            if deadline_secs > 0:
                self._process.terminate()
                return self._process.wait(deadline_secs)
        except subprocess.TimeoutExpired:
            pass
        self._process.kill()
        return self._process.wait()
