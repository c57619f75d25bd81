"""The one HTTP server: webhooks, probes, metrics, and what the commands ask a running zenwatch.

In: requests.  Out: the responses of their routes (routes.py).
Owns: the listening socket and the connections, from start() to stop().
Stops: stop() accepts no new connections, lets requests in progress end within STOP_SECS, and closes. It can be started again.
"""

import logging
from collections.abc import Sequence

import structlog
from aiohttp import web

from zenwatch.config.env import Address
from zenwatch.contract import Group
from zenwatch.errors import ConfigError
from zenwatch.log import LibraryLog
from zenwatch.web.application import application
from zenwatch.web.routes import Route
from zenwatch.web.server_config import ServerConfig

log = structlog.get_logger(component="web")

STOP_SECS = 3.0
# The rest of a refused body is read and dropped for so long: a sender that is cut off does not read why.
LINGER_SECS = 0.5


class Server:
    group = Group.ALWAYS

    def __init__(self, routes: Sequence[Route], config: ServerConfig) -> None:
        self._routes = routes
        self._config = config
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen. ConfigError: the address is not available."""
        self._runner = runner = web.AppRunner(
            application(self._routes, self._config.authenticator, self._config.own_site),
            # Paths may hold tokens.
            access_log=None,
            logger=_logger_without_paths(),
            # webhook/body.py unpacks, with a bound.
            auto_decompress=False,
            lingering_time=LINGER_SECS,
            shutdown_timeout=STOP_SECS,
        )
        await runner.setup()
        address, certificate = self._config.address, self._config.certificate
        tls = certificate.context if certificate else None
        try:
            await web.TCPSite(runner, address.host or None, address.port, ssl_context=tls).start()
        except OSError as exc:
            await self.stop()
            raise ConfigError(f"LISTEN is {address}: {exc.strerror or exc}. Is another program listening there?") from exc
        scheme = "https" if tls else "http"
        for bound in runner.addresses:
            log.info("listening", address=f"{scheme}://{Address(*bound[:2])}")

    async def stop(self) -> None:
        """Does nothing if the server is not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()


def _logger_without_paths() -> logging.Logger:
    """aiohttp quotes malformed requests, which may hold a token. Only the kind of the error is logged."""
    logger = logging.Logger("zenwatch.web")  # noqa: LOG001  a child of no other logger: no other handler receives its records
    logger.addHandler(LibraryLog(_log_failed_request))
    return logger


def _log_failed_request(record: logging.LogRecord) -> None:
    kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
    (log.error if record.levelno >= logging.ERROR else log.debug)("request_failed", error=kind or "a malformed request")
