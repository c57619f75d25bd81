"""Make responses: one line of text, a probe's result, metrics, JSON."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder

from zenwatch.contract import HookResponse
from zenwatch.contract.principal import Principal
from zenwatch.errors import BadInput, first_line

# What answers a route. The principal has the role of the route.
Handler = Callable[[web.Request, Principal], Awaitable[web.StreamResponse]]
# Whether all is well, and the text for a person.
Probe = Callable[[], Awaitable[tuple[bool, str]]]
# From the parameters of a URL to a JSON value. Raises BadInput if they make no sense.
Query = Callable[[Mapping[str, str]], Awaitable[Any]]

# The rest of the body is not read after these: a sender who may not post could send it forever.
CLOSING_STATUSES = frozenset({401, 403, 408, 413})


class Refused(Exception):  # noqa: N818  a response, not a failure of ours
    """Raised by a handler, or by what it calls, to end the request with this status and line."""

    def __init__(self, status: int, line: str, *, retry_after_secs: int | None = None) -> None:
        super().__init__(line)
        self.response = HookResponse(status, line, retry_after_secs)


def one_line(response: HookResponse, *, allow: str = "") -> web.Response:
    """allow: the methods of the path, for a 405."""
    headers: dict[str, str] = {}
    if response.retry_after_secs is not None:
        headers["Retry-After"] = str(response.retry_after_secs)
    if response.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="zenwatch"'
    if allow:
        headers["Allow"] = allow
    text = web.Response(status=response.status, text=f"{response.line}\n", headers=headers)
    if response.status in CLOSING_STATUSES:
        text.force_close()
    return text


def probe_handler(probe: Probe) -> Handler:
    """Kubelets and load balancers read the status, people the text."""

    async def handle(_request: web.Request, _principal: Principal) -> web.StreamResponse:
        is_well, text = await probe()
        return web.Response(status=200 if is_well else 503, text=text)

    return handle


async def metrics_handler(request: web.Request, _principal: Principal) -> web.StreamResponse:
    """OpenMetrics for whoever accepts it, the text format for others."""
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})


def json_handler(query: Query) -> Handler:
    async def handle(request: web.Request, _principal: Principal) -> web.StreamResponse:
        try:
            value = await query(request.query)
        except BadInput as exc:
            raise Refused(400, first_line(exc)) from exc
        return web.Response(body=orjson.dumps(value), content_type="application/json")

    return handle
