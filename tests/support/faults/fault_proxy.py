"""A proxy in front of the API server that lets writes fail: plain HTTP in, HTTPS with the cluster's authority out.

    with FaultProxy(cluster.server, cluster.ca_file, choose=some_of([Fault.CUT_AFTER], share=0.3, seed=1)) as proxy:
        kubeconfig.write_text(kubeconfig_text(identity, server=proxy.url, ca_pem=b""))

Only writes of records fail; reads and watches pass unchanged.
"""

import asyncio
import random
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

# These headers belong to one connection and must not be passed on (RFC 9110, section 7.6.1).
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
# A late write reaches the API server so long after it was sent.
LATE_SECS = 3.0
START_WITHIN_SECS = 10.0
STOP_WITHIN_SECS = 10.0
# The API server answers the close of a TLS connection in a round trip.
TLS_CLOSE_SECS = 0.3


class Fault(Enum):
    NONE = "passed on"
    TOO_MANY = "429 with Retry-After: 1"
    BROKEN = "500"
    HANG = "never answered"
    CUT = "cut before it was passed on"
    CUT_AFTER = "made, and cut before the answer"
    HANG_AFTER = "made, and never answered"
    LATE = "made when the client had given up"


Choose = Callable[[], Fault]


def in_turn(faults: Iterable[Fault]) -> Choose:
    """One after the other; then no more faults."""
    left = iter(faults)
    return lambda: next(left, Fault.NONE)


def some_of(faults: Sequence[Fault], *, share: float, seed: int) -> Choose:
    """One of the faults for this share of the writes; the same ones for the same seed."""
    chance = random.Random(seed)  # noqa: S311  the same faults again

    def choose() -> Fault:
        return chance.choice(faults) if chance.random() < share else Fault.NONE

    return choose


class FaultProxy:
    """Runs in a thread of its own. A test may change choose and is_away at any time.

    done: the number of writes by fault; a late write counts when the API server has answered it.
    is_away: no request is answered, as if there was no API server; a watch ends instead of passing on its next change.
    """

    def __init__(self, server: str, ca_file: Path, *, choose: Choose) -> None:
        self.choose = choose
        self.is_away = False
        self.done: Counter[Fault] = Counter()
        self.url = ""
        self._server = server
        self._tls = ssl.create_default_context(cafile=str(ca_file))
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="fault-proxy", daemon=True)
        self._late: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(START_WITHIN_SECS), "the proxy did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        if self._loop and self._ending:
            self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(STOP_WITHIN_SECS)

    async def _run(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        # Bodies pass unchanged, compressed or not.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=0), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        ) as self._session:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._handle)
            # A request that hangs ends when its client closes the connection.
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            self._started.set()
            await self._ending.wait()
            await runner.cleanup()
        # Connections that were closing already are not waited for, and their sockets would outlive the loop.
        await asyncio.sleep(TLS_CLOSE_SECS)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        is_write = request.method in ("POST", "PATCH") and "/zenagentevents" in request.path
        fault = Fault.CUT if self.is_away else self.choose() if is_write else Fault.NONE
        self.done[fault] += is_write and fault is not Fault.LATE
        body = await request.read()
        match fault:
            case Fault.TOO_MANY:
                return _status(429, "TooManyRequests", {"Retry-After": "1"})
            case Fault.BROKEN:
                return _status(500, "InternalError")
            case Fault.HANG:
                await asyncio.Event().wait()
            case Fault.LATE:
                # A task of its own, because this one ends when the client gives up.
                task = asyncio.create_task(self._pass_on_late(request, body), name="late")
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                await asyncio.Event().wait()
            case Fault.CUT:
                return _cut(request)
        try:
            return await self._pass_on(request, body, fault)
        except (aiohttp.ClientError, ConnectionError):
            # One side closed its connection: close the other one, too.
            return _cut(request)

    def _ask(self, request: web.Request, body: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        url, headers = self._server + request.raw_path, _passed_on(request.headers)
        return self._session.request(request.method, url, data=body or None, headers=headers, allow_redirects=False)

    async def _pass_on_late(self, request: web.Request, body: bytes) -> None:
        await asyncio.sleep(LATE_SECS)
        async with self._ask(request, body) as answer:
            await answer.read()
        self.done[Fault.LATE] += 1

    async def _pass_on(self, request: web.Request, body: bytes, fault: Fault) -> web.StreamResponse:
        async with self._ask(request, body) as answer:
            if fault is Fault.NONE:
                try:
                    return await self._stream(request, answer)
                except asyncio.CancelledError:
                    # The client went away. Closing TLS takes a round trip, and the loop may end first.
                    if answer.connection and answer.connection.transport:
                        answer.connection.transport.abort()
                    raise
            await answer.read()
            if fault is Fault.HANG_AFTER:
                await asyncio.Event().wait()
            return _cut(request)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        """Pass the body on piece by piece, because a watch never ends."""
        response = web.StreamResponse(status=answer.status, headers=_passed_on(answer.headers))
        if answer.content_length is not None:
            response.content_length = answer.content_length
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            if self.is_away:
                return _cut(request)
            await response.write(piece)
        await response.write_eof()
        return response


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}


def _status(code: int, reason: str, headers: dict[str, str] | None = None) -> web.Response:
    explanation = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": "a fault was ordered",
        "code": code,
    }
    return web.json_response(explanation, status=code, headers=headers)


def _cut(request: web.Request) -> web.Response:
    """Break the connection. The response that is returned reaches no client."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
