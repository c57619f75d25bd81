"""The one HTTP server: takes what tools post, tells how we are.

In: requests.  Out: bodies to the hook of their path; answers of one line, and metrics.
Owns: the listening socket and the connections.
Stops: stop() takes no more connections, lets requests in progress end, and closes.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from zenwatch.config.env import Address
from zenwatch.contract import Hook, HookResponse
from zenwatch.errors import BadInput, ConfigError, first_line
from zenwatch.web.body import Refused, read_body
from zenwatch.web.readiness import Readiness
from zenwatch.web.server_config import ServerConfig

log = structlog.get_logger(component="web")

# So many large bodies of one path are in memory at a time; the others wait outside, in the sockets.
BODIES_AT_ONCE = 4
LARGE_BODY_BYTES = 64 * 1024
# Requests in progress may take as long when the process stops.
STOP_SECS = 3.0
LINGER_SECS = 0.5


# A query to what is told, as JSON. Raises BadInput for a question that makes no sense.
Answers = Callable[[Mapping[str, str]], Any]


class Server:
    def __init__(self, hooks: Sequence[Hook], config: ServerConfig, health: Readiness, answers: Mapping[str, Answers]) -> None:
        """answers: by path, what answers a question, such as /explain?q=; whoever may post may ask."""
        self._hooks = {hook.path: hook for hook in hooks}
        self._config = config
        self._health = health
        self._answers = answers
        self._bodies = {hook.path: asyncio.Semaphore(BODIES_AT_ONCE) for hook in hooks}
        app = web.Application()
        # One handler and no table of routes: a path may hold a token, so nothing but this file looks at it.
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app,
            # It would tell tokens that stand in paths.
            access_log=None,
            logger=_quiet_logger(),
            # body.py does it, with a bound.
            auto_decompress=False,
            # What is left of a body that was refused is thrown away for as long, so that its sender gets to read why.
            lingering_time=LINGER_SECS,
            shutdown_timeout=STOP_SECS,
        )

    async def start(self) -> None:
        """Listen. ConfigError: the address cannot be had."""
        await self._runner.setup()
        host = self._config.address.host or None
        tls = self._config.certificate.context if self._config.certificate else None
        site = web.TCPSite(self._runner, host, self._config.address.port, ssl_context=tls)
        try:
            await site.start()
        except OSError as exc:
            await self._runner.cleanup()
            raise ConfigError(f"LISTEN is {self._config.address}: {exc.strerror or exc}. Is another program listening there?") from exc
        scheme = "https" if tls else "http"
        for where in self._runner.addresses:
            log.info("listening", address=f"{scheme}://{Address(*where[:2])}")

    async def stop(self) -> None:
        await self._runner.cleanup()

    # ------------------------------------------------------------ one request

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        hook, token = self._hook_of(request.path)
        if hook is None:
            return await self._tell(request)
        try:
            answer = await self._take(request, hook, token)
        except Refused as refused:
            answer = HookResponse(refused.status, refused.line)
        hook.count(answer.status, sender=request.remote or "")
        return _text(answer, allow="POST")

    def _hook_of(self, path: str) -> tuple[Hook | None, str]:
        """The hook, and the token where the path's last segment is one."""
        if path in self._hooks:
            return self._hooks[path], ""
        stem, _, token = path.rpartition("/")
        hook = self._hooks.get(stem)
        return (hook, token) if hook is not None and hook.token_in_path and token else (None, "")

    async def _take(self, request: web.Request, hook: Hook, token: str) -> HookResponse:
        if request.method != "POST":
            raise Refused(405, f"{request.method} is not for this path; expected POST")
        elsewhere = [token] if token else []
        if not self._config.hooks.authenticate(
            _authorization(request), has_certificate=_has_certificate(request), tokens_elsewhere=elsewhere
        ):
            raise Refused(401, "a valid bearer token or client certificate is required")
        media_type = request.content_type if "Content-Type" in request.headers else hook.media_types[0]
        if media_type not in hook.media_types:
            raise Refused(415, f"the Content-Type is {media_type[:80]!r}; expected {' or '.join(hook.media_types)}")
        is_small = request.content_length is not None and request.content_length <= LARGE_BODY_BYTES and not _is_packed(request)
        if is_small:
            return await self._read_and_post(request, hook, media_type, self._config.timeout_secs)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._config.timeout_secs
        try:
            async with asyncio.timeout_at(deadline):
                await self._bodies[hook.path].acquire()
        except TimeoutError:
            return HookResponse(503, "too many large bodies at once; send it again", 1)
        try:
            return await self._read_and_post(request, hook, media_type, deadline - loop.time())
        finally:
            self._bodies[hook.path].release()

    async def _read_and_post(self, request: web.Request, hook: Hook, media_type: str, timeout_secs: float) -> HookResponse:
        body = await read_body(request, max_bytes=hook.max_body_bytes, timeout_secs=timeout_secs)
        if not body.strip():
            raise Refused(400, "the body is empty")
        return await hook.post(body, media_type)

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        pages = {"/healthz": self._healthz, "/readyz": self._readyz, "/metrics": self._metrics} | dict.fromkeys(self._answers, self._answer)
        page = pages.get(request.path)
        if page is None:
            known = ", ".join([*(f"POST {path}" for path in self._hooks), *(f"GET {path}" for path in pages)])
            return _text(HookResponse(404, f"there is nothing here; expected {known}"))
        if request.method not in ("GET", "HEAD"):
            return _text(HookResponse(405, f"{request.method} is not for this path; expected GET"), allow="GET, HEAD")
        return await page(request)

    async def _healthz(self, _request: web.Request) -> web.StreamResponse:
        is_alive, line = self._health.alive()
        return web.Response(status=200 if is_alive else 503, text=line)

    async def _readyz(self, _request: web.Request) -> web.StreamResponse:
        is_ready, lines = await self._health.ready()
        return web.Response(status=200 if is_ready else 503, text=lines)

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if not self._config.metrics.authenticate(_authorization(request), has_certificate=_has_certificate(request)):
            return _text(HookResponse(401, "a valid bearer token or client certificate is required (METRICS_AUTH)"))
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if not self._config.hooks.authenticate(_authorization(request), has_certificate=_has_certificate(request)):
            return _text(HookResponse(401, "a valid bearer token or client certificate is required"))
        try:
            told = self._answers[request.path](request.query)
        except BadInput as exc:
            return _text(HookResponse(400, first_line(exc)))
        return web.Response(body=orjson.dumps(told), content_type="application/json")


def _text(answer: HookResponse, *, allow: str = "") -> web.Response:
    headers: dict[str, str] = {}
    if answer.retry_after_secs is not None:
        headers["Retry-After"] = str(answer.retry_after_secs)
    if answer.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="zenwatch"'
    if answer.status == 405:
        headers["Allow"] = allow
    response = web.Response(status=answer.status, text=f"{answer.line}\n", headers=headers)
    if answer.status in (401, 408, 413):
        # What is left of the body is not read: whoever sent it may send it for ever.
        response.force_close()
    return response


def _authorization(request: web.Request) -> str:
    return request.headers.get("Authorization", "")


def _is_packed(request: web.Request) -> bool:
    return "Content-Encoding" in request.headers


def _has_certificate(request: web.Request) -> bool:
    """Only a certificate that was verified is told (ssl.SSLSocket.getpeercert)."""
    return bool(request.transport and request.transport.get_extra_info("peercert"))


class _ToStructlog(logging.Handler):
    """aiohttp's own complaints, without what they quote: a malformed request line may hold a token."""

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        (log.error if record.levelno >= logging.ERROR else log.debug)("request_failed", error=kind or "a malformed request")


def _quiet_logger() -> logging.Logger:
    logger = logging.Logger("zenwatch.web")  # noqa: LOG001  of its own: no other handler ever sees what it is told
    logger.addHandler(_ToStructlog())
    return logger
