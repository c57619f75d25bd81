"""A server of zenwatch/web on a free port, and requests to it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from structlog.testing import capture_logs

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.hook import FakeHook
from zenwatch.contract import Hook
from zenwatch.errors import BadInput
from zenwatch.runtime.settings import Settings
from zenwatch.web.readiness import Readiness
from zenwatch.web.server import Server
from zenwatch.web.server_config import server_config

TOKEN = "0123456789abcdef-first"  # noqa: S105  of no use anywhere
OTHER_TOKEN = "0123456789abcdef-other"  # noqa: S105


async def served_kinds() -> Sequence[str]:
    return ("zenagentevents",)


def explained(query: Mapping[str, str]) -> list[dict[str, str]]:
    if "q" not in query:
        raise BadInput("nothing was asked for")
    return [{"key": query["q"], "outcome": "stored"}] if query["q"] == "a/b c" else []


class Web:
    """logged: what the server said so far."""

    def __init__(self, url: str, logged: list[Any], client: aiohttp.ClientSession) -> None:
        self.url = url
        self.logged = logged
        self._client = client

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.rpartition("/")[2].rpartition(":")
        return host, int(port)

    async def ask(self, method: str, path: str, **parts: Any) -> tuple[int, str, Mapping[str, str]]:
        async with self._client.request(method, self.url + path, **parts) as answer:
            return answer.status, await answer.text(), answer.headers

    async def post(self, path: str = "/falco/webhook", body: bytes = b"{}", **headers: str) -> tuple[int, str, Mapping[str, str]]:
        said = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.ask("POST", path, data=body, headers=said)

    async def raw(self, *pieces: bytes, pause_secs: float = 0.0) -> bytes:
        """Bytes to the socket as they are, and all that comes back until the server closes or a second passes."""
        reader, writer = await asyncio.open_connection(*self.address)
        answer = b""
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(pause_secs)
            async with asyncio.timeout(1):
                while part := await reader.read(65536):
                    answer += part
        except TimeoutError:
            pass
        finally:
            writer.close()
        return answer


@asynccontextmanager
async def serving(
    *hooks: Hook, client_tls: ssl.SSLContext | None = None, health: Readiness | None = None, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Web]:
    """environment: settings; LISTEN is a free port of the loopback."""
    settings = Settings.read({"LISTEN": "127.0.0.1:0"} | dict(environment or {}))
    clock = FakeClock()
    with capture_logs() as logged:
        config = server_config(settings, is_in_pod=False, clock=clock)
        health = health or Readiness(clock=clock, served_kinds=served_kinds, kind="zenagentevents", buffers={})
        server = Server(hooks or (FakeHook(),), config, health, {"/explain": explained})
        await server.start()
        url = next(line["address"] for line in logged if line["event"] == "listening")
        connector = aiohttp.TCPConnector(ssl=client_tls) if client_tls else None
        try:
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as client:
                yield Web(url, logged, client)
        finally:
            await server.stop()
