"""Ask one API server: decoded JSON out, every failure as one of our errors.

In: requests from kube/, sources/, store/, deliver/ and doctor/.  Out: decoded JSON objects; lines of a watch.
Owns: an HttpSession, and the rate limit of all its requests.
Stops: close() ends every request.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

from zenwatch.contract import Clock
from zenwatch.errors import Transient
from zenwatch.kube.access import Access
from zenwatch.kube.http.request import JSON, Request
from zenwatch.kube.http.session import Content, HttpSession, lines, read
from zenwatch.kube.http.status_errors import transport_errors
from zenwatch.runtime.clock import SystemClock
from zenwatch.runtime.token_bucket import TokenBucket


class KubeClient:
    """timeout_secs: of each request, without the time that it waits for the rate limit. most_wait_secs: the longest Retry-After believed.

    Every method raises Transient, Expired, NotFound, AlreadyExists, Conflict, Forbidden, NamespaceTerminating, Invalid or Permanent.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout_secs: float,
        connections: int,
        rate_per_sec: float = 2000.0,
        most_wait_secs: float = 60.0,
        clock: Clock | None = None,
    ) -> None:
        self._session = HttpSession(access, connections=connections, most_wait_secs=most_wait_secs)
        self._rate_limit = TokenBucket(clock or SystemClock(), rate_per_sec)
        self._timeout_secs = timeout_secs
        self._silence = f"no answer within {timeout_secs:g} s"

    async def close(self) -> None:
        await self._session.close()

    async def send(
        self,
        request: Request,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Any:
        """The decoded answer."""
        encoded = None if body is None else orjson.dumps(body)
        return _decode(await self._bytes_of(request, Content(query, encoded, content_type, accept)), request)

    async def send_sized(self, request: Request, *, query: Mapping[str, str], accept: str = JSON) -> tuple[Any, int]:
        """The decoded answer, and its size in bytes."""
        received = await self._bytes_of(request, Content(query, accept=accept))
        return _decode(received, request), len(received)

    async def headers(self, request: Request) -> Mapping[str, str]:
        """The answer's headers; its body is not read."""
        await self._rate_limit.take()
        with transport_errors(request, silence=self._silence):
            async with asyncio.timeout(self._timeout_secs), await self._session.open(request, Content()) as response:
                return response.headers

    async def stream(self, request: Request, *, query: Mapping[str, str], idle_secs: float) -> AsyncGenerator[bytes, None]:
        """The lines of a watch, each one JSON value. Ends when the server ends it; Transient when idle_secs pass without a byte."""
        await self._rate_limit.take()
        with transport_errors(request, silence=self._silence):
            async with asyncio.timeout(self._timeout_secs):
                response = await self._session.open(request, Content(query))
        with transport_errors(request, silence=f"nothing came for {idle_secs:g} s"):
            async with response:
                async for line in lines(response, request, idle_secs=idle_secs):
                    yield line

    async def _bytes_of(self, request: Request, content: Content) -> bytes:
        # Before the time-out starts: a server that was not asked cannot have been slow.
        await self._rate_limit.take()
        with transport_errors(request, silence=self._silence):
            async with asyncio.timeout(self._timeout_secs), await self._session.open(request, content) as response:
                return await read(response, request)


def _decode(body: bytes, request: Request) -> Any:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise Transient(f"the answer to {request.verb} {request.path} is not JSON: {exc}") from exc
    if not isinstance(answer, dict):
        raise Transient(f"the answer to {request.verb} {request.path} is not an object")
    return answer
