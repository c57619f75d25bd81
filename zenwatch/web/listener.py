"""Accept connections at an address, also while the process has no descriptor left.

In: connections.  Out: each to `accepted`, at once, before any TLS handshake.
Owns: the listening sockets, from start() to stop().
Stops: stop() closes the sockets; what was accepted stays with its receiver.
"""

import asyncio
import errno
import socket
from asyncio import TimerHandle
from collections.abc import Callable
from time import monotonic

import structlog

from zenwatch.config.env import Address

log = structlog.get_logger(component="web")

BACKLOG = 128
ACCEPT_AT_ONCE = 64
# Until then whoever made way has given back its descriptor.
PAUSE_SECS = 0.05
LOG_EVERY_SECS = 60.0
# A host name may have addresses of a kind that this machine does not have.
_NO_SUCH_ADDRESS = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


class Listener:
    """accepted: gets each connection with its peer's address, and owns it. make_way: called when no descriptor is left."""

    def __init__(self, address: Address, *, accepted: Callable[[socket.socket, str], None], make_way: Callable[[], None]) -> None:
        self._address = address
        self._accepted = accepted
        self._make_way = make_way
        self._sockets: list[socket.socket] = []
        self._pauses: dict[socket.socket, TimerHandle] = {}
        self._logged_at = float("-inf")

    @property
    def addresses(self) -> list[Address]:
        return [Address(*listening.getsockname()[:2]) for listening in self._sockets]

    async def start(self) -> None:
        """Raises OSError if the address is not available."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._address.host or None, self._address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        missing: OSError | None = None
        for family, _, _, _, sockaddr in dict.fromkeys(found):
            try:
                listening = socket.create_server(sockaddr, family=family, backlog=BACKLOG)
            except OSError as exc:
                if exc.errno not in _NO_SUCH_ADDRESS:
                    await self.stop()
                    raise
                missing = exc
                continue
            listening.setblocking(False)  # noqa: FBT003  its only parameter
            self._sockets.append(listening)
            loop.add_reader(listening, self._accept, listening)
        if not self._sockets:
            raise missing or OSError(errno.EADDRNOTAVAIL, "the name has no address")

    async def stop(self) -> None:
        """Does nothing if it is not started."""
        loop = asyncio.get_running_loop()
        for listening in self._sockets:
            if pause := self._pauses.pop(listening, None):
                pause.cancel()
            loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPT_AT_ONCE):
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as exc:
                self._pause(listening, exc)
                return
            connection.setblocking(False)  # noqa: FBT003  its only parameter
            self._accepted(connection, str(peer[0]))

    def _pause(self, listening: socket.socket, failure: OSError) -> None:
        """The socket stays readable: without a pause the loop would do nothing else."""
        if monotonic() - self._logged_at >= LOG_EVERY_SECS:
            self._logged_at = monotonic()
            log.warning("connection_not_accepted", error=failure.strerror or str(failure), wait_secs=PAUSE_SECS)
        self._make_way()
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._pauses[listening] = loop.call_later(PAUSE_SECS, self._resume, listening)

    def _resume(self, listening: socket.socket) -> None:
        del self._pauses[listening]
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)
