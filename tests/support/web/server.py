"""A server of zenwatch/web on a free port, and requests to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.hook import FakeHook
from zenwatch.contract import Hook
from zenwatch.errors import BadInput
from zenwatch.model.status import BudgetStatus, ProcessStatus, WriteStatus
from zenwatch.runtime.supervise import Supervisor
from zenwatch.web.auth import Authenticator
from zenwatch.web.liveness import Heartbeat
from zenwatch.web.responses import Probe
from zenwatch.web.routes import Route, route_table
from zenwatch.web.server import Server
from zenwatch.web.server_config import ServerConfig, server_config
from zenwatch.wiring.settings import Settings

TOKEN = "0123456789abcdef-first"  # noqa: S105  of no use anywhere
OTHER_TOKEN = "0123456789abcdef-other"  # noqa: S105
STATUS = ProcessStatus("0.1.0", "2026-01-01T00:00:00Z", {}, BudgetStatus(1, 10, 2, 20, 0), WriteStatus(0, failing=False))


async def ready() -> tuple[bool, str]:
    return True, "apiserver ok\n"


async def explained(query: Mapping[str, str]) -> list[dict[str, str]]:
    if "q" not in query:
        raise BadInput("nothing was asked for")
    return [{"key": query["q"], "outcome": "stored"}] if query["q"] == "a/b c" else []


async def grouped(query: Mapping[str, str]) -> dict[str, str]:
    return dict(query)


async def process_status() -> ProcessStatus:
    return STATUS


def routes_of(*hooks: Hook, liveness: Probe | None = None, readiness: Probe = ready, body_timeout_secs: float = 20.0) -> list[Route]:
    """All routes; behind those of no webhook stand answers that tests know."""
    return route_table(
        hooks=hooks,
        body_timeout_secs=body_timeout_secs,
        liveness=liveness or Heartbeat(FakeClock()).check,
        readiness=readiness,
        explain=explained,
        top=grouped,
        status=process_status,
    )


def config_of(environment: Mapping[str, str] | None = None) -> ServerConfig:
    """environment: settings; LISTEN is a free port of the loopback."""
    settings = Settings.read({"LISTEN": "127.0.0.1:0"} | dict(environment or {}))
    return server_config(settings, is_in_pod=False, clock=FakeClock())


class WebClient:
    """logged: what the server has logged so far."""

    def __init__(self, url: str, logged: list[Any], client: aiohttp.ClientSession) -> None:
        self.url = url
        self.logged = logged
        self._client = client

    @property
    def address(self) -> tuple[str, int]:
        return address_of(self.url)

    async def ask(self, method: str, path: str, **parts: Any) -> tuple[int, str, Mapping[str, str]]:
        """Status, text and headers of the response."""
        async with self._client.request(method, self.url + path, **parts) as response:
            return response.status, await response.text(), response.headers

    async def post(self, path: str = "/falco/webhook", body: bytes = b"{}", **headers: str) -> tuple[int, str, Mapping[str, str]]:
        sent = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("POST", path, data=body, headers=sent)

    async def raw(self, *pieces: bytes, pause_secs: float = 0.0) -> bytes:
        """Send bytes as they are; return all that comes back until the server closes or a second passes."""
        reader, writer = await asyncio.open_connection(*self.address)
        received = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_secs)
            async with asyncio.timeout(1):
                while part := await reader.read(65536):
                    received += part
        except TimeoutError:
            pass
        finally:
            writer.close()
        return received


def address_of(url: str) -> tuple[str, int]:
    host, _, port = url.rpartition("/")[2].rpartition(":")
    return host, int(port)


def url_in(logged: Sequence[Mapping[str, Any]]) -> str:
    """Where the server that was started last listens."""
    return str([line["address"] for line in logged if line["event"] == "listening"][-1])


@asynccontextmanager
async def serving(
    *hooks: Hook,
    client_tls: ssl.SSLContext | None = None,
    routes: Sequence[Route] | None = None,
    authenticator: Authenticator | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[WebClient]:
    """routes, authenticator: in place of those that hooks and settings make."""
    with capture_logs() as logged:
        config = config_of(environment)
        if authenticator:
            config = replace(config, authenticator=authenticator)
        server = Server(routes or routes_of(*(hooks or (FakeHook(),)), body_timeout_secs=config.body_timeout_secs), config, Supervisor())
        await server.start()
        url = url_in(logged)
        connector = aiohttp.TCPConnector(ssl=client_tls, limit=0) if client_tls else aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
                yield WebClient(url, logged, client)
        finally:
            await server.stop()
