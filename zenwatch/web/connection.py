"""One connection of the server, with a deadline wherever it waits for its sender.

In: bytes.  Out: requests to aiohttp, which calls the application; 408 to a sender whose headers are late.
Owns: one timer. It runs while the connection is idle, while headers come, and while an answer is not read; not during a request.
Stops: when the connection is lost, by either side or by its deadline.
"""

import asyncio
from asyncio import BaseTransport, Task, TimerHandle, Transport
from socket import socket
from typing import Any, cast

from aiohttp import web
from aiohttp.typedefs import Handler as AiohttpHandler

from zenwatch.web.connections import ConnectionLimits, Connections

_LINE = b"the headers did not come in time (HEADERS_TIMEOUT)\n"
_LATE = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (
    len(_LINE),
    _LINE,
)
# So long may a sender take to read that line.
_CLOSE_WITHIN_SECS = 1.0


class Connection(web.RequestHandler):
    """It begins to wait when it is accepted: a TLS handshake is a part of the wait, with a deadline of its own."""

    def __init__(self, server: web.Server, connections: Connections, limits: ConnectionLimits, *, peer: str, **options: Any) -> None:
        """options: of aiohttp's RequestHandler."""
        loop = asyncio.get_running_loop()
        super().__init__(server, loop=loop, keepalive_timeout=limits.idle_secs, **options)
        self._connections = connections
        self._limits = limits
        # aiohttp forgets its own when it closes, although something may be left to send.
        self._open: Transport | None = None
        self._timer: TimerHandle | None = None
        self._is_receiving = False
        # The socket until the handshake begins, and then the task that waits for its end.
        self.accepted: socket | None = None
        self.handshake: Task[None] | None = None
        self.peer = peer
        self.is_busy = False
        self.is_spare = False
        self.has_asked = False
        self.waiting_since = loop.time()

    def connection_made(self, transport: BaseTransport) -> None:
        self._open = cast("Transport", transport)
        self._wait(self._limits.idle_secs)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_timer()
        self._open = None
        self._connections.release(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if data and not self.is_busy and not self._is_receiving:
            self._is_receiving = True
            self._wait(self._limits.headers_secs)
        super().data_received(data)

    def begin_request(self) -> None:
        self.is_busy = True
        self._stop_timer()

    def end_request(self) -> None:
        self.is_busy, self._is_receiving, self.has_asked = False, False, True
        self.waiting_since = self._loop.time()
        if self._open is not None:
            self._wait(self._limits.idle_secs)

    def cut(self) -> None:
        """Close it now, whatever was not sent."""
        self._stop_timer()
        if self._open is not None:
            self._open.abort()
            return
        if self.accepted is not None:
            self.accepted.close()
        if self.handshake is not None:
            self.handshake.cancel()

    def _wait(self, secs: float) -> None:
        self._stop_timer()
        self._timer = self._loop.call_later(secs, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if self._open is None:
            return
        self._connections.count_closed("headers_late" if self._is_receiving else "idle")
        if self._is_receiving and not self._open.is_closing() and self._open.get_write_buffer_size() == 0:
            self._open.write(_LATE)
            self._timer = self._loop.call_later(_CLOSE_WITHIN_SECS, self._open.abort)
            self.force_close()
        else:
            self._open.abort()


@web.middleware
async def mark_busy(request: web.Request, handler: AiohttpHandler) -> web.StreamResponse:
    """Around every request: its connection has no deadline meanwhile, and makes no way for others."""
    connection = request.protocol
    if not isinstance(connection, Connection):
        return await handler(request)
    connection.begin_request()
    try:
        response = await handler(request)
    finally:
        connection.end_request()
    if connection.is_spare:
        # The next probe needs it.
        response.force_close()
    return response


def is_spare(request: web.Request) -> bool:
    """Whether its connection is beyond the bounds: only probes are answered."""
    return isinstance(request.protocol, Connection) and request.protocol.is_spare
