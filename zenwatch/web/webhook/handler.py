"""Read the body of a request to a webhook and give it to the hook.

Few large bodies of one webhook are in memory at once: the others wait unread, in their sockets.
"""

import asyncio

from aiohttp import web

from zenwatch.contract import Hook
from zenwatch.contract.principal import Principal, PrincipalKind
from zenwatch.web.responses import Refused, one_line
from zenwatch.web.webhook.body import read_body

LARGE_BODIES_AT_ONCE = 4
LARGE_BODY_BYTES = 64 * 1024
# Browsers let a page send these to any site without asking it first (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).
UNASKED_MEDIA_TYPES = frozenset({"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"})


class WebhookHandler:
    """timeout_secs: how long a body may take to arrive, with the time that it waits for others."""

    def __init__(self, hook: Hook, *, timeout_secs: float) -> None:
        self._hook = hook
        self._timeout_secs = timeout_secs
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES_AT_ONCE)

    async def post(self, request: web.Request, principal: Principal) -> web.StreamResponse:
        """Raises Refused for a request whose body does not reach the hook."""
        media_type = self._media_type_of(request, principal)
        if _is_small(request):
            return await self._read_and_post(request, media_type, self._timeout_secs)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_secs
        try:
            async with asyncio.timeout_at(deadline):
                await self._large_bodies.acquire()
        except TimeoutError as exc:
            raise Refused(503, "too many large bodies at once; send it again", retry_after_secs=1) from exc
        try:
            return await self._read_and_post(request, media_type, deadline - loop.time())
        finally:
            self._large_bodies.release()

    def _media_type_of(self, request: web.Request, principal: Principal) -> str:
        is_known = principal.kind is not PrincipalKind.ANONYMOUS
        expected = [taken for taken in self._hook.media_types if is_known or taken not in UNASKED_MEDIA_TYPES]
        if not (given := request.headers.get("Content-Type", "").strip()):
            raise Refused(415, f"the Content-Type is missing; expected {' or '.join(expected)}")
        if request.content_type not in expected:
            hint = " (any web page could send this one: it needs a token)" if request.content_type in self._hook.media_types else ""
            raise Refused(415, f"the Content-Type is {given.partition(';')[0][:80]!r}; expected {' or '.join(expected)}{hint}")
        return request.content_type

    async def _read_and_post(self, request: web.Request, media_type: str, timeout_secs: float) -> web.StreamResponse:
        body = await read_body(request, max_bytes=self._hook.max_body_bytes, timeout_secs=timeout_secs)
        if not body.strip():
            raise Refused(400, "the body is empty")
        return one_line(await self._hook.post(body, media_type))


def _is_small(request: web.Request) -> bool:
    """A body of unknown length, or a packed one, may be large."""
    length = request.content_length
    return length is not None and length <= LARGE_BODY_BYTES and "Content-Encoding" not in request.headers
