"""All open connections, within bounds: for a new one the one closes that has waited longest, never one with a request in progress."""

import resource
from collections.abc import Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Protocol

import structlog

from zenwatch.metrics import CONNECTIONS, CONNECTIONS_CLOSED

log = structlog.get_logger(component="web")

# Beyond the bounds, for probes alone. They are answered at once, so that few suffice.
SPARE_CONNECTIONS = 8
# Descriptors for the API server's connections, the spool and the log, where there are enough for all.
OTHER_DESCRIPTORS = 128
# A crowd of connections is news once a minute.
LOG_EVERY_SECS = 60.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """headers_secs: from the first byte of a request to its last header; also for a TLS handshake. idle_secs: without a request."""

    headers_secs: float = 10.0
    idle_secs: float = 120.0
    connections: int = 512
    of_one_address: int = 256


class OpenConnection(Protocol):
    """is_spare: only probes are answered. has_asked: it had a request before. waiting_since: by the loop's clock."""

    peer: str
    is_busy: bool
    is_spare: bool
    has_asked: bool
    waiting_since: float

    def cut(self) -> None:
        """Close it now, whatever was not sent."""


def affordable(connections: int) -> int:
    """At most as many, so that RLIMIT_NOFILE leaves descriptors for everything else."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if descriptors == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, max(descriptors // 4, descriptors - OTHER_DESCRIPTORS)))


class Connections:
    def __init__(self, limits: ConnectionLimits) -> None:
        self._most = affordable(limits.connections)
        # In the same proportion, so that a single address cannot have them all.
        self._most_of_one = max(1, limits.of_one_address * self._most // limits.connections)
        self._bound = "MAX_CONNECTIONS" if self._most == limits.connections else "RLIMIT_NOFILE"
        # In the order in which they came.
        self._open: dict[OpenConnection, None] = {}
        self._of_peer: dict[str, int] = {}
        self._logged_at = float("-inf")

    @property
    def bound(self) -> tuple[int, str]:
        """How many there may be, and what says so."""
        return self._most, self._bound

    def admit(self, connection: OpenConnection) -> bool:
        """False: there is no space, and the caller closes it. True must end in release()."""
        peer, count, of_peer = connection.peer, len(self._open), self._of_peer.get(connection.peer, 0)
        if of_peer >= self._most_of_one:
            self._log_full("MAX_CONNECTIONS_PER_ADDRESS", self._most_of_one)
            is_full = not self._cut_oldest(one for one in self._open if one.peer == peer)
        elif count >= self._most:
            self._log_full(self._bound, self._most)
            is_full = not self._cut_oldest(self._open)
        else:
            is_full = False
        connection.is_spare = is_full
        if is_full and (count >= self._most + SPARE_CONNECTIONS or of_peer >= self._most_of_one + SPARE_CONNECTIONS):
            self.count_closed("refused")
            return False
        self._open[connection] = None
        self._of_peer[peer] = self._of_peer.get(peer, 0) + 1
        CONNECTIONS.set(len(self._open))
        return True

    def release(self, connection: OpenConnection) -> None:
        """It is closed, or will be. A second time does nothing."""
        if connection in self._open:
            del self._open[connection]
            self._of_peer[connection.peer] -= 1
            if not self._of_peer[connection.peer]:
                del self._of_peer[connection.peer]
            CONNECTIONS.set(len(self._open))

    def make_way(self, most: int) -> None:
        """Cut up to so many: no descriptor is left."""
        for _ in range(most):
            if not self._cut_oldest(self._open):
                return

    def cut_all(self) -> None:
        for connection in list(self._open):
            self.release(connection)
            connection.cut()

    @staticmethod
    def count_closed(reason: str) -> None:
        CONNECTIONS_CLOSED.labels(reason=reason).inc()

    def _cut_oldest(self, candidates: Iterable[OpenConnection]) -> bool:
        """Those that never asked anything go first: a sender keeps its connection between two requests."""
        waiting = [one for one in candidates if not one.is_busy]
        if not waiting:
            return False
        oldest = min(waiting, key=lambda one: (one.has_asked, one.waiting_since))
        self.release(oldest)
        self.count_closed("made_way")
        oldest.cut()
        return True

    def _log_full(self, reason: str, count: int) -> None:
        if monotonic() - self._logged_at >= LOG_EVERY_SECS:
            self._logged_at = monotonic()
            log.warning("connections_full", reason=reason, count=count)
