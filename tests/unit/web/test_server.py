"""zenwatch/web/server.py: it listens from start() to stop(), and its log quotes no request."""

import asyncio
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web as aiohttp_web
from structlog.testing import capture_logs

from tests.support.fakes.hook import FakeHook
from tests.support.tasks import patience, until
from tests.support.web.server import address_of, config_of, routes_of, serving, url_in
from zenwatch.config.env import Address
from zenwatch.contract.principal import Principal
from zenwatch.errors import ConfigError
from zenwatch.runtime.supervise import Supervisor
from zenwatch.web.routes import Route
from zenwatch.web.server import Server


async def test_a_server_starts_and_stops_ten_times() -> None:
    """Each time it serves all routes, and afterwards nobody listens. Neither the constructor nor a second stop() does anything."""
    hook = FakeHook()
    server = Server(routes_of(hook), config_of(), Supervisor())
    await server.stop()
    for _ in range(10):
        with capture_logs() as logged:
            await server.start()
        url = url_in(logged)
        async with aiohttp.ClientSession() as client, client.post(f"{url}/falco/webhook", json={}) as response:
            assert response.status == 200
        await server.stop()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address_of(url))

    assert hook.counted == {200: 10}


async def test_an_address_in_use_ends_the_start_with_a_sentence() -> None:
    """The server can be started again once the address is free."""
    async with serving() as web:
        host, port = web.address
        server = Server(routes_of(), replace(config_of(), address=Address(host, port)), Supervisor())
        with pytest.raises(ConfigError, match=rf"LISTEN is {host}:{port}: .* Is another program listening there\?"):
            await server.start()
    with capture_logs() as logged:
        await server.start()
    await server.stop()

    assert url_in(logged) == f"http://{host}:{port}"


async def test_a_request_in_progress_ends_before_the_server_does() -> None:
    """stop() accepts nothing new and lets it finish."""
    hook = FakeHook(gate=asyncio.Event(), gated_bytes=0)
    server = Server(routes_of(hook), config_of(), Supervisor())
    with capture_logs() as logged:
        await server.start()
    async with aiohttp.ClientSession() as client, patience(), asyncio.TaskGroup() as tasks:
        posting = tasks.create_task(_post(client, url_in(logged)), name="post")
        await until(lambda: hook.in_progress == 1)
        stopping = tasks.create_task(server.stop(), name="stop")
        await asyncio.sleep(0)
        hook.gate.set()
        await stopping

    assert posting.result() == 200


async def _post(client: aiohttp.ClientSession, url: str) -> int:
    async with client.post(f"{url}/falco/webhook", json={}) as response:
        return response.status


@pytest.mark.parametrize(
    "line", [b"\x00\x01\x02\r\n\r\n", b"POST /falco/webhook/0123456789abcdef-first HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 20_000]
)
async def test_a_malformed_request_is_answered_and_not_quoted_in_the_log(line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """It may hold a token."""
    caplog.set_level("DEBUG")
    async with serving() as web:
        received = await web.raw(line)

    assert not received or received.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert "0123456789abcdef" not in str(web.logged) + caplog.text
    assert {entry["event"] for entry in web.logged} <= {"listening", "request_failed"}


async def _fail(_request: aiohttp_web.Request, _principal: Principal) -> aiohttp_web.StreamResponse:
    raise RuntimeError("0123456789abcdef-first")


async def test_a_bug_in_a_handler_is_500_and_one_line_in_the_log_without_its_message() -> None:
    """The message may quote the request."""
    async with serving(routes=[Route("GET", "/page", _fail, None)]) as web:
        status, text, _ = await web.ask("GET", "/page")

    [line] = [entry for entry in web.logged if entry["event"] != "listening"]
    assert (status, line["event"], line["log_level"], line["error"]) == (500, "request_failed", "error", "RuntimeError")
    assert "0123456789abcdef" not in text + str(web.logged)
