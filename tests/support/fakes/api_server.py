"""An API server that gives the answers of a script: the faults that a real one does not produce on demand.

    async with FakeApiServer() as server:
        server.answers("GET", "/api/v1/pods", status(429, retry_after="7"), body({"items": []}))

Each path gets its answers in order, and 404 when none is left. Every request is in `seen`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support.tasks import patience
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient

# Its arguments are the request and an event that is set when the server ends.
Answer = Callable[[web.Request, asyncio.Event], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Seen:
    """One request. body: the decoded JSON; None: it was empty."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class FakeApiServer:
    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._script: dict[tuple[str, str], deque[Answer]] = {}
        self._ending = asyncio.Event()
        self._news = asyncio.Event()
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self._handle)
        self._server = TestServer(application)

    async def __aenter__(self) -> Self:
        await self._server.start_server()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending.set()
        await self._server.close()

    @property
    def url(self) -> str:
        return str(self._server.make_url("")).rstrip("/")

    def answers(self, method: str, path: str, *answers: Answer) -> None:
        self._script.setdefault((method, path), deque()).extend(answers)

    def access(self, **parts: Any) -> Access:
        """The access of a client without credentials. parts: other fields of Access."""
        fields: dict[str, Any] = {"server": self.url, "tls": False, "describe": "a fake", "read_authorization": lambda: None}
        return Access(**fields | parts)

    def client(self, *, timeout_secs: float = 5.0, **parts: Any) -> KubeClient:
        """A client that the test has to close before the server ends."""
        return KubeClient(self.access(**parts), timeout_secs=timeout_secs, connections=4)

    async def until_seen(self, requests: int) -> None:
        async with patience():
            while len(self.seen) < requests:
                self._news.clear()
                await self._news.wait()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        sent = await request.read()
        self.seen.append(
            Seen(request.method, request.path, dict(request.query), dict(request.headers), orjson.loads(sent) if sent else None)
        )
        self._news.set()
        script = self._script.get((request.method, request.path))
        answer = script.popleft() if script else status(404, message="nothing is scripted for this request")
        return await answer(request, self._ending)


# ---------------------------------------------------------------- answers


def body(content: Any, *, code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return raw(orjson.dumps(content), code=code, headers=headers)


def raw(content: bytes, *, code: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    async def answer(_request: web.Request, _ending: asyncio.Event) -> web.StreamResponse:
        return web.Response(body=content, status=code, headers=headers, content_type="application/json")

    return answer


def status(code: int, *, reason: str = "", message: str = "", details: Any = None, retry_after: str | None = None) -> Answer:
    """A meta/v1 Status, as the API server explains a failure."""
    explanation = {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details or {}}
    return body(explanation, code=code, headers={"Retry-After": retry_after} if retry_after else None)


def hangs() -> Answer:
    """The connection stays open, and no byte is sent until the server ends."""

    async def answer(_request: web.Request, ending: asyncio.Event) -> web.StreamResponse:
        await ending.wait()
        return web.Response()

    return answer


def cuts(sent: bytes = b"") -> Answer:
    """The connection breaks: before the head, or inside the body after the bytes `sent`."""

    async def answer(request: web.Request, _ending: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse()
        if sent:
            response.content_length = len(sent) + 100
            await response.prepare(request)
            await response.write(sent)
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def watch(*chunks: bytes, then: str = "idle") -> Answer:
    """Send each chunk by itself. then: idle (stay open, send nothing), end (as after timeoutSeconds) or cut."""

    async def answer(request: web.Request, ending: asyncio.Event) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if then == "idle":
            await ending.wait()
        elif then == "cut" and request.transport is not None:
            request.transport.close()
        return response

    return answer


# ---------------------------------------------------------------- lists and watches


def line(kind: str, changed: Mapping[str, Any]) -> bytes:
    """One line of a watch."""
    return orjson.dumps({"type": kind, "object": changed}) + b"\n"


def bookmark(version: str) -> bytes:
    return line("BOOKMARK", {"metadata": {"resourceVersion": version}})


def error_line(code: int, message: str = "too old") -> bytes:
    return line("ERROR", {"kind": "Status", "code": code, "message": message})


def page(*reports: Mapping[str, Any], version: str = "100", more: str = "") -> Answer:
    """One page of a list. more: the token of the next page; empty: this is the last page."""
    return body({"metadata": {"resourceVersion": version, "continue": more}, "items": list(reports)})
