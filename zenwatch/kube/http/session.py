"""HTTP to one API server: credentials, status codes, and bodies of bounded size.

In: requests from kube/client.  Out: the answer's bytes, or one of our errors.
Owns: the connection pool, which the first request opens: who makes a client and never asks has nothing to close.
Stops: close() ends every request.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import aiohttp

from zenwatch.errors import Invalid, Transient
from zenwatch.kube.access import Access
from zenwatch.kube.http.request import JSON, METHODS, Request
from zenwatch.kube.http.status_errors import error_of
from zenwatch.metrics import api_requests

# 20 objects (the first page of a list) of 3 MiB, the most that an API server accepts for one object.
MAX_ANSWER_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What a request carries beside its path. body: encoded; None: there is none."""

    query: Mapping[str, str] | None = None
    body: bytes | None = None
    content_type: str = JSON
    accept: str = JSON


class HttpSession:
    def __init__(self, access: Access, *, connections: int, most_wait_secs: float) -> None:
        """most_wait_secs: the longest Retry-After that is believed."""
        self._access = access
        self._most_wait_secs = most_wait_secs
        self._connections = connections
        self._pool: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def close(self) -> None:
        self._is_closed = True
        if self._pool is not None:
            await self._pool.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise Transient("the client of the API server is closed")
        if self._pool is None:
            self._pool = self._new_pool()
        return self._pool

    def _new_pool(self) -> aiohttp.ClientSession:
        # Answers are small or come over a fast network: compression costs the API server more than it saves.
        headers = {"Accept-Encoding": "identity", "User-Agent": "zenwatch"}
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._access.tls, ttl_dns_cache=60),
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
            auto_decompress=False,
        )

    async def open(self, request: Request, content: Content) -> aiohttp.ClientResponse:
        """The answer, its body still unread, if its status is a success. Otherwise raises the error that the status means."""
        response = await self._request(request, content)
        if response.status == 401:
            # The token may have been replaced since it was read.
            response.release()
            response = await self._request(request, content, refused=True)
        api_requests(METHODS[request.verb], response.status).inc()
        if response.status < 300:
            return response
        async with response:
            body, retry_after = await read(response, request), response.headers.get("Retry-After")
            raise error_of(response.status, body, retry_after, request, most_wait_secs=self._most_wait_secs)

    async def _request(self, request: Request, content: Content, *, refused: bool = False) -> aiohttp.ClientResponse:
        headers = {"Accept": content.accept} if content.body is None else {"Accept": content.accept, "Content-Type": content.content_type}
        if authorization := await self._access.authorization(refused=refused):
            headers["Authorization"] = authorization
        return await self._opened().request(
            METHODS[request.verb],
            self._access.server + request.path,
            params=content.query,
            data=content.body,
            headers=headers,
            proxy=self._access.proxy,
            server_hostname=self._access.server_name,
            allow_redirects=False,
        )


async def read(response: aiohttp.ClientResponse, request: Request) -> bytes:
    """The whole body. Invalid: it is larger than MAX_ANSWER_BYTES."""
    if response.content_length is not None and response.content_length <= MAX_ANSWER_BYTES:
        return await response.read()
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise Invalid(f"the answer is larger than {MAX_ANSWER_BYTES} bytes: {request.verb} {request.path}")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def lines(response: aiohttp.ClientResponse, request: Request, *, idle_secs: float) -> AsyncIterator[bytes]:
    """The body's complete lines as they arrive. TimeoutError: idle_secs passed without a byte."""
    rest = bytearray()
    pieces = response.content.iter_any()
    while True:
        async with asyncio.timeout(idle_secs):
            piece = await anext(pieces, None)
        if piece is None:
            return
        scanned = len(rest)
        rest += piece
        if len(rest) > MAX_ANSWER_BYTES:
            raise Transient(f"a line is larger than {MAX_ANSWER_BYTES} bytes: {request.verb} {request.path}")
        if b"\n" not in piece:
            continue
        end = rest.rindex(b"\n", scanned)
        whole, rest = bytes(rest[:end]), rest[end + 1 :]
        for line in whole.split(b"\n"):
            yield line
