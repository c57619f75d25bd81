"""The one HTTP server: webhooks, probes, metrics, and what the commands ask a running zenwatch.

In: requests.  Out: the responses of their routes (routes.py).
Owns: the connections, from start() to stop(): how many there are and how long each may wait (connections.py, connection.py).
Stops: stop() accepts no new connections, lets requests in progress end within STOP_SECS, and closes. It can be started again.
"""

import asyncio
import logging
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from zenwatch.contract import Group
from zenwatch.errors import ConfigError
from zenwatch.log import LibraryLog
from zenwatch.runtime.supervise import Supervisor
from zenwatch.web.application import application
from zenwatch.web.connection import Connection
from zenwatch.web.connections import SPARE_CONNECTIONS, Connections
from zenwatch.web.listener import Listener
from zenwatch.web.routes import Route
from zenwatch.web.server_config import ServerConfig

log = structlog.get_logger(component="web")

STOP_SECS = 3.0
# The rest of a refused body is read and dropped for so long: a sender that is cut off does not read why.
LINGER_SECS = 0.5


class Server:
    group = Group.ALWAYS

    def __init__(self, routes: Sequence[Route], config: ServerConfig, supervisor: Supervisor) -> None:
        self._routes = routes
        self._config = config
        self._supervisor = supervisor
        self._tls = _tls_options(config)
        self._runner: web.AppRunner | None = None
        self._connections = Connections(config.limits)
        make_way = partial(self._connections.make_way, SPARE_CONNECTIONS)
        self._listener = Listener(config.address, accepted=self._accept, make_way=make_way)
        self._handshakes: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. ConfigError: the address is not available."""
        app = application(self._routes, self._config.authenticator, self._config.own_site)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=STOP_SECS)
        await self._runner.setup()
        try:
            await self._listener.start()
        except OSError as exc:
            await self.stop()
            raise ConfigError(f"LISTEN is {self._config.address}: {exc.strerror or exc}. Is another program listening there?") from exc
        most, bound = self._connections.bound
        if bound == "RLIMIT_NOFILE":
            log.warning("connections_bounded", count=most, reason="RLIMIT_NOFILE leaves no more of MAX_CONNECTIONS")
        for address in self._listener.addresses:
            log.info("listening", address=f"{'https' if self._tls else 'http'}://{address}")

    async def stop(self) -> None:
        """Does nothing if the server is not started."""
        await self._listener.stop()
        for handshake in self._handshakes:
            handshake.cancel()
        await asyncio.gather(*self._handshakes, return_exceptions=True)
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
        # What was not sent by now is not read.
        self._connections.cut_all()

    def _accept(self, accepted: socket.socket, peer: str) -> None:
        server = self._runner.server if self._runner else None
        if server is None:
            accepted.close()
            return
        connection = Connection(server, self._connections, self._config.limits, peer=peer, **_OPTIONS)
        if not self._connections.admit(connection):
            accepted.close()
            return
        connection.accepted = accepted
        connection.handshake = self._supervisor.run_once("web/handshake", partial(self._connect, accepted, connection))
        self._handshakes.add(connection.handshake)
        connection.handshake.add_done_callback(self._handshakes.discard)

    async def _connect(self, accepted: socket.socket, connection: Connection) -> None:
        """Returns after the TLS handshake, if there is one."""
        connection.accepted = None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted, **self._tls)
        except OSError:
            # No TLS, or none that we take, or too slow.
            self._connections.count_closed("handshake")
            self._connections.release(connection)
        except asyncio.CancelledError:
            self._connections.release(connection)
            raise


def _tls_options(config: ServerConfig) -> dict[str, Any]:
    """Of connect_accepted_socket(); none for plain HTTP."""
    if config.certificate is None:
        return {}
    return {
        "ssl": config.certificate.context,
        "ssl_handshake_timeout": config.limits.headers_secs,
        "ssl_shutdown_timeout": STOP_SECS,
    }


def _logger_without_paths() -> logging.Logger:
    """aiohttp quotes malformed requests, which may hold a token. Only the kind of the error is logged."""
    logger = logging.Logger("zenwatch.web")  # noqa: LOG001  a child of no other logger: no other handler receives its records
    logger.addHandler(LibraryLog(_log_failed_request))
    return logger


def _log_failed_request(record: logging.LogRecord) -> None:
    kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    (log.error if record.levelno >= logging.ERROR else log.debug)("request_failed", error=kind or "a malformed request")


# Of every connection: aiohttp's RequestHandler.
_OPTIONS: dict[str, Any] = {
    # Paths may hold tokens.
    "access_log": None,
    "logger": _logger_without_paths(),
    # webhook/body.py unpacks, with a bound.
    "auto_decompress": False,
    "lingering_time": LINGER_SECS,
}
