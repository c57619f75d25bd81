"""Every path of the server, with its method, its handler and the role that it needs.

A new page, API or webhook is one line in `route_table`.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from zenwatch.contract import Hook
from zenwatch.contract.principal import Role
from zenwatch.model.status import ProcessStatus
from zenwatch.web.responses import Handler, Probe, Query, json_handler, metrics_handler, probe_handler
from zenwatch.web.webhook.handler import WebhookHandler

# A token may be the last part of a path, for senders that cannot set headers. Nothing may log such a path.
TOKEN_SEGMENT = "{token:[^/]+}"  # noqa: S105  a pattern, no secret


def count_nothing(_status: int, _sender: str) -> None:
    """Only webhooks count their answers."""


@dataclass(frozen=True)
class Route:
    """path: as aiohttp writes it, such as /audit-webhook/{cluster_id}. role: what the sender has to have; None: the route is open.

    count_answer: called with the status of every answer on this path and the sender's address.
    """

    method: str
    path: str
    handler: Handler
    role: Role | None
    count_answer: Callable[[int, str], None] = count_nothing

    @property
    def is_listed(self) -> bool:
        """Whether a 404 lists it. A path with a token is only another form of the path without."""
        return TOKEN_SEGMENT not in self.path


def route_table(
    *,
    hooks: Sequence[Hook],
    body_timeout_secs: float,
    liveness: Probe,
    readiness: Probe,
    explain: Query,
    top: Query,
    status: Callable[[], Awaitable[ProcessStatus]],
) -> list[Route]:
    """All that the server serves, in the order in which a 404 lists it. body_timeout_secs: how long a body may take to arrive."""
    return [
        *(route for hook in hooks for route in _webhook_routes(hook, body_timeout_secs)),
        Route("GET", "/healthz", probe_handler(liveness), None),
        Route("GET", "/readyz", probe_handler(readiness), None),
        Route("GET", "/metrics", metrics_handler, Role.READ_METRICS),
        Route("GET", "/explain", json_handler(explain), Role.READ_STATUS),
        Route("GET", "/top", json_handler(top), Role.READ_STATUS),
        Route("GET", "/status", json_handler(lambda _query: status()), Role.READ_STATUS),
    ]


def _webhook_routes(hook: Hook, body_timeout_secs: float) -> Iterator[Route]:
    handler = WebhookHandler(hook, timeout_secs=body_timeout_secs)

    def count_answer(status: int, sender: str) -> None:
        hook.count(status, sender=sender)

    yield Route("POST", hook.path, handler.post, Role.POST_EVENTS, count_answer)
    if hook.token_in_path:
        yield Route("POST", f"{hook.path}/{TOKEN_SEGMENT}", handler.post, Role.POST_EVENTS, count_answer)
