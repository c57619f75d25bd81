"""zenwatch/web/connections.py, connection.py and listener.py: nobody keeps the server from others by holding connections."""

import asyncio
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trustme
from aiohttp import web as aiohttp_web
from prometheus_client import REGISTRY

from tests.support.fakes.hook import FakeHook
from tests.support.paths import ROOT
from tests.support.tasks import patience, until
from tests.support.web.certificates import client_context, write_certificate
from tests.support.web.server import address_of, serving
from tests.support.web.sockets import PART_OF_HEADERS, REQUEST, sockets
from zenwatch.contract.principal import Principal
from zenwatch.web.connections import SPARE_CONNECTIONS, ConnectionLimits, Connections
from zenwatch.web.routes import Route

SHORT = {"HEADERS_TIMEOUT": "200ms", "IDLE_TIMEOUT": "200ms"}
POST = b"POST /falco/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass(eq=False)
class BusyConnection:
    peer: str
    is_busy: bool = True
    is_spare: bool = False
    has_asked: bool = False
    waiting_since: float = 0.0

    def cut(self) -> None:
        raise AssertionError("it has a request in progress")


def closed(reason: str) -> float:
    return REGISTRY.get_sample_value("zenwatch_connections_closed_total", {"reason": reason}) or 0


def open_now() -> float:
    return REGISTRY.get_sample_value("zenwatch_connections") or 0


# ---------------------------------------------------------------- time


async def test_headers_that_come_byte_by_byte_are_cut_off() -> None:
    """However many do it. The deadline counts from the first byte; a byte more does not move it."""
    async with serving(environment=SHORT | {"IDLE_TIMEOUT": "1h"}) as web, sockets(web.address, 100) as slow:
        for one in slow:
            await one.send(PART_OF_HEADERS)
        received = await asyncio.gather(*(one.drip() for one in slow))
        status, _, _ = await web.ask("GET", "/healthz")

    assert status == 200
    # A sender that still sends may be cut off before it has read the line.
    assert {text[:12] for text in received} <= {b"HTTP/1.1 408", b""}


async def test_a_sender_that_is_late_reads_which_setting_cut_it_off() -> None:
    """One line, as every refusal."""
    late = closed("headers_late")
    async with serving(environment=SHORT | {"IDLE_TIMEOUT": "1h"}) as web, sockets(web.address, 1) as [slow]:
        await slow.send(PART_OF_HEADERS)
        received = await slow.rest()

    head, _, text = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in head
    assert text == b"the headers did not come in time (HEADERS_TIMEOUT)\n"
    assert closed("headers_late") == late + 1


async def test_the_next_request_of_a_connection_has_the_same_deadline() -> None:
    """It counts from the first byte of that request."""
    async with serving(environment={"HEADERS_TIMEOUT": "200ms", "IDLE_TIMEOUT": "1h"}) as web, sockets(web.address, 1) as [slow]:
        for _ in range(3):
            await slow.send(REQUEST)
            assert (await slow.answer()).startswith(b"HTTP/1.1 200")
            # Idle for longer than the headers of a request may take.
            await asyncio.sleep(0.3)
        await slow.send(PART_OF_HEADERS)
        received = await slow.drip()

    assert received[:12] in {b"HTTP/1.1 408", b""}


@pytest.mark.parametrize("asks_before", [True, False])
async def test_a_connection_without_a_request_is_closed_after_a_while(*, asks_before: bool) -> None:
    """Whether it had one before or not."""
    idle = closed("idle")
    async with serving(environment={"HEADERS_TIMEOUT": "10m", "IDLE_TIMEOUT": "200ms"}) as web, sockets(web.address, 1) as [silent]:
        if asks_before:
            await silent.send(REQUEST)
            await silent.answer()
        received = await silent.rest()

    assert (received, closed("idle")) == (b"", idle + 1)


async def test_a_request_in_progress_has_all_its_time() -> None:
    """Neither deadline counts for it: WEBHOOK_TIMEOUT bounds its body."""
    hook = FakeHook(gate=asyncio.Event(), gated_bytes=0)
    async with serving(hook, environment=SHORT) as web, sockets(web.address, 1) as [sender]:
        await sender.send(POST)
        await until(lambda: hook.in_progress == 1)
        await asyncio.sleep(0.5)
        hook.gate.set()
        received = await sender.answer()

    assert received.startswith(b"HTTP/1.1 200")


async def test_who_does_not_read_the_answer_loses_the_connection() -> None:
    """The rest of the answer would stay in memory for ever, with the connection's descriptor."""

    async def show(_request: aiohttp_web.Request, _principal: Principal) -> aiohttp_web.StreamResponse:
        return aiohttp_web.Response(body=b"x" * 50_000_000)

    idle = closed("idle")
    async with serving(routes=[Route("GET", "/page", show, None)], environment=SHORT) as web, sockets(web.address, 1) as [greedy]:
        greedy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await greedy.send(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with patience():
            while closed("idle") == idle:  # noqa: ASYNC110  the server sets no event
                await asyncio.sleep(0.02)

        await until(lambda: open_now() == 0)


# ---------------------------------------------------------------- bounds


async def test_a_new_connection_makes_the_oldest_idle_one_close() -> None:
    """So that whoever asks now is answered, on every path."""
    made_way = closed("made_way")
    async with serving(environment={"MAX_CONNECTIONS": "5"}) as web, sockets(web.address, 20) as idle:
        statuses = [(await web.ask("GET", path, headers={"Connection": "close"}))[0] for path in ("/healthz", "/readyz", "/metrics")]
        cut = await asyncio.gather(*(one.rest() for one in idle[:15]))
        is_open = [one.is_open for one in idle[-3:]]

    assert (statuses, cut, is_open) == ([200, 200, 200], [b""] * 15, [True] * 3)
    assert closed("made_way") >= made_way + 15


async def test_connections_that_come_all_at_once_are_bounded_too() -> None:
    """Some of them make way before anything was done about them: their descriptors are given back all the same."""
    async with serving(environment={"MAX_CONNECTIONS": "5"}) as web, sockets(web.address, 60, at_once=True) as idle:
        ended = [asyncio.ensure_future(one.rest()) for one in idle]
        async with patience():
            while sum(one.done() for one in ended) < 55:
                await asyncio.wait([one for one in ended if not one.done()], return_when=asyncio.FIRST_COMPLETED)
        await until(lambda: open_now() == 5)
        for one in ended:
            one.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        status, _, _ = await web.ask("GET", "/healthz")

    assert status == 200


def test_beyond_the_spare_connections_none_is_taken() -> None:
    """All that are open have a request in progress."""
    connections, refused = Connections(ConnectionLimits(connections=3, of_one_address=3)), closed("refused")
    taken = [connections.admit(BusyConnection(peer)) for peer in "abc" for _ in range(SPARE_CONNECTIONS)]

    assert sum(taken) == 3 + SPARE_CONNECTIONS
    assert closed("refused") == refused + len(taken) - sum(taken)


@pytest.mark.parametrize(("descriptors", "most"), [(64, 16), (256, 128), (1024, 512), (resource.RLIM_INFINITY, 512)])
def test_descriptors_are_left_for_everything_else(descriptors: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter where there are few. A single address has half of them, as by default."""
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (descriptors, descriptors))
    connections = Connections(ConnectionLimits())

    assert connections.bound == (most, "MAX_CONNECTIONS" if most == 512 else "RLIMIT_NOFILE")
    assert sum(connections.admit(BusyConnection("a")) for _ in range(2000)) == most // 2 + SPARE_CONNECTIONS


async def test_who_has_asked_before_stays_longer_than_who_never_asked() -> None:
    """A sender keeps its connection while somebody opens empty ones."""
    async with serving(environment={"MAX_CONNECTIONS": "5"}) as web, sockets(web.address, 1) as [sender]:
        await sender.send(REQUEST)
        await sender.answer()
        async with sockets(web.address, 20):
            await sender.send(REQUEST)
            received = await sender.answer()

    assert received.startswith(b"HTTP/1.1 200")


async def test_an_address_that_opens_many_only_closes_its_own() -> None:
    """Others keep theirs, although they are older."""
    environment = {"MAX_CONNECTIONS": "20", "MAX_CONNECTIONS_PER_ADDRESS": "3"}
    async with (
        serving(environment=environment) as web,
        sockets(web.address, 3) as others,
        sockets(web.address, 30, source="127.0.0.2") as greedy,
    ):
        await asyncio.gather(*(one.rest() for one in greedy[:27]))
        is_open = [one.is_open for one in (*others, *greedy[27:])]

    assert is_open == [True] * 6


async def test_while_every_connection_has_a_request_probes_are_answered_all_the_same() -> None:
    """They have a few connections for themselves. Other requests read what is the matter, and no more than those few get in."""
    hook, refused = FakeHook(gate=asyncio.Event(), gated_bytes=0), closed("refused")
    async with serving(hook, environment={"MAX_CONNECTIONS": "2"}) as web, sockets(web.address, 2) as busy:
        for one in busy:
            await one.send(POST)
        await until(lambda: hook.in_progress == 2)
        probes = [(await web.ask("GET", path))[0] for path in ("/healthz", "/readyz")]
        status, line, headers = await web.post()
        async with sockets(web.address, SPARE_CONNECTIONS + 3) as more:
            await more[0].rest()
            last = (await web.ask("GET", "/healthz"))[0]
        hook.gate.set()
        received = [await one.answer() for one in busy]

    assert (probes, last) == ([200, 200], 200)
    assert (status, line, headers["Retry-After"]) == (503, "too many connections (MAX_CONNECTIONS); send it again\n", "1")
    assert [text[:12] for text in received] == [b"HTTP/1.1 200"] * 2
    assert closed("refused") == refused


async def test_a_bound_that_is_met_is_one_line_in_the_log() -> None:
    """Not one for each connection: there may be thousands a second."""
    async with serving(environment={"MAX_CONNECTIONS": "2"}) as web, sockets(web.address, 20) as idle:
        await idle[0].rest()
        await web.ask("GET", "/healthz")

    assert [(line["log_level"], line["reason"], line["count"]) for line in web.logged if line["event"] == "connections_full"] == [
        ("warning", "MAX_CONNECTIONS", 2)
    ]


async def test_no_connection_outlives_the_server() -> None:
    """Idle, half sent, or in a handshake."""
    async with serving() as web, sockets(web.address, 3) as [silent, slow, asked]:
        await slow.send(PART_OF_HEADERS)
        await asked.send(REQUEST)
        await asked.answer()
        await until(lambda: open_now() == 3)
    rests = [await one.rest() for one in (silent, slow, asked)]

    assert (rests, open_now()) == ([b""] * 3, 0)


# ---------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, dict[str, str]]:
    authority = trustme.CA()
    paths = write_certificate(authority, tmp_path_factory.mktemp("tls"))
    return authority, {"TLS_CERT_FILE": paths["cert"], "TLS_KEY_FILE": paths["key"]}


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/1.1\r\n"])
async def test_a_handshake_has_the_deadline_of_headers(tls: tuple[trustme.CA, dict[str, str]], first: bytes) -> None:
    """A connection that never begins it, breaks off in it, or speaks plain HTTP holds a descriptor too."""
    environment = tls[1] | {"HEADERS_TIMEOUT": "200ms", "IDLE_TIMEOUT": "1h"}
    async with serving(environment=environment, client_tls=client_context(tls[0])) as web, sockets(web.address, 20) as silent:
        for one in silent:
            await one.send(first)
        received = await asyncio.gather(*(one.rest() for one in silent))
        await until(lambda: open_now() == 0)
        status, _, _ = await web.ask("GET", "/healthz")

    assert status == 200
    assert b"HTTP/1.1 200" not in b"".join(received)


async def test_handshakes_count_as_connections(tls: tuple[trustme.CA, dict[str, str]]) -> None:
    """The oldest makes way, as where there is no TLS; probes and slow headers behave as there."""
    environment = tls[1] | {"MAX_CONNECTIONS": "5", "HEADERS_TIMEOUT": "10m"}
    async with serving(environment=environment, client_tls=client_context(tls[0])) as web, sockets(web.address, 20) as silent:
        status, _, _ = await web.ask("GET", "/healthz")
        await asyncio.gather(*(one.rest() for one in silent[:15]))

    assert status == 200


async def test_slow_headers_are_cut_off_over_tls_too(tls: tuple[trustme.CA, dict[str, str]]) -> None:
    """The clock starts with the first byte after the handshake."""
    context = client_context(tls[0])
    environment = tls[1] | {"HEADERS_TIMEOUT": "1s"}
    async with serving(environment=environment, client_tls=context) as web, sockets(web.address, 5, tls=context) as slow:
        for one in slow:
            await one.send(PART_OF_HEADERS)
        received = await asyncio.gather(*(one.rest() for one in slow))

    assert {text[:12] for text in received} == {b"HTTP/1.1 408"}


# ---------------------------------------------------------------- descriptors


@asynccontextmanager
async def child_server(descriptors: int, environment: Mapping[str, str]) -> AsyncIterator[tuple[str, int]]:
    """The address of a server on uvloop that may have so many descriptors."""
    command = [sys.executable, "-m", "tests.support.web.child_server", str(descriptors)]
    child = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=os.environ | dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    try:
        async with patience():
            yield address_of((await child.stdout.readline()).decode().strip())
    finally:
        child.stdin.close()
        async with patience():
            await child.wait()


async def _ask(address: tuple[str, int], path: str, authority: trustme.CA | None) -> bytes:
    async with sockets(address, 1, tls=client_context(authority) if authority else None) as [one]:
        await one.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return (await one.rest())[:12]


@pytest.mark.parametrize("with_tls", [False, True])
async def test_probes_are_answered_with_64_descriptors(tls: tuple[trustme.CA, dict[str, str]], *, with_tls: bool) -> None:
    """Whatever MAX_CONNECTIONS says. The connections are idle, or send a byte now and then."""
    authority = tls[0] if with_tls else None
    async with child_server(64, tls[1] if with_tls else {}) as address, sockets(address, 100) as idle:
        first = [await _ask(address, path, authority) for path in ("/healthz", "/readyz")]
        for one in idle:
            await one.send(PART_OF_HEADERS)
        async with sockets(address, 50):
            then = [await _ask(address, path, authority) for path in ("/healthz", "/readyz")]

    assert first + then == [b"HTTP/1.1 200"] * 4


async def test_hundreds_of_slow_connections_are_all_cut_off() -> None:
    """On uvloop, with the descriptors that a process usually has."""
    async with child_server(1024, {"HEADERS_TIMEOUT": "500ms"}) as address, sockets(address, 400) as slow:
        await asyncio.gather(*(one.send(PART_OF_HEADERS) for one in slow))
        received = await asyncio.gather(*(one.drip(0.1) for one in slow))
        status = await _ask(address, "/healthz", None)

    assert {text[:12] for text in received} <= {b"HTTP/1.1 408", b""}
    assert status == b"HTTP/1.1 200"
