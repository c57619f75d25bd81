"""From a request to the handler of its route: the sender has the role that it needs, or reads in one line what is wrong."""

from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler as AiohttpHandler

from zenwatch.contract import HookResponse
from zenwatch.contract.principal import ANONYMOUS, Principal, PrincipalKind, Role
from zenwatch.web.auth import Authenticator
from zenwatch.web.connection import is_spare, mark_busy
from zenwatch.web.own_site import HEADERS, OwnSite
from zenwatch.web.responses import Refused, one_line
from zenwatch.web.routes import Route, count_nothing

# The setting that opens the routes with this role.
_OPENED_BY = {Role.READ_METRICS: " (METRICS_AUTH)"}


def application(routes: Sequence[Route], authenticator: Authenticator, own_site: OwnSite) -> web.Application:
    app = web.Application(middlewares=[mark_busy])
    for path in dict.fromkeys(route.path for route in routes):
        resource = app.router.add_resource(path)
        of_path = [route for route in routes if route.path == path]
        for route in of_path:
            handle = _handle(_respond(route, authenticator), own_site, route.count_answer)
            for method in _methods_of(route):
                resource.add_route(method, handle)
        resource.add_route("*", _handle(_refuse_method(of_path), own_site, of_path[0].count_answer))
    app.router.add_route("*", "/{path:.*}", _handle(_refuse_path(routes), own_site))
    return app


def _methods_of(route: Route) -> tuple[str, ...]:
    return ("GET", "HEAD") if route.method == "GET" else (route.method,)


def _handle(respond: AiohttpHandler, own_site: OwnSite, count_answer: Callable[[int, str], None] = count_nothing) -> AiohttpHandler:
    """Around every response, also to a path or a method that does not exist."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            own_site.check(request)
            response = await respond(request)
        except Refused as refused:
            response = one_line(refused.response)
        response.headers.update(HEADERS)
        count_answer(response.status, request.remote or "")
        return response

    return handle


def _respond(route: Route, authenticator: Authenticator) -> AiohttpHandler:
    async def respond(request: web.Request) -> web.StreamResponse:
        if route.role is not None and is_spare(request):
            raise Refused(503, "too many connections (MAX_CONNECTIONS); send it again", retry_after_secs=1)
        return await route.handler(request, _principal_of(request, route, authenticator))

    return respond


def _principal_of(request: web.Request, route: Route, authenticator: Authenticator) -> Principal:
    """Raises Refused for a sender that does not have the role of the route."""
    if route.role is None:
        return ANONYMOUS
    principal = authenticator.authenticate(
        request.headers.get("Authorization", ""),
        certificate=request.transport.get_extra_info("peercert") if request.transport else None,
        path_token=request.match_info.get("token", ""),
    )
    if principal is not None and route.role in principal.roles:
        return principal
    if principal is None or principal.kind is PrincipalKind.ANONYMOUS:
        raise Refused(401, f"a valid bearer token or client certificate is required{_OPENED_BY.get(route.role, '')}")
    raise Refused(403, f"{principal.name} does not have the role {route.role}")


def _refuse_method(of_path: Sequence[Route]) -> AiohttpHandler:
    expected = " or ".join(route.method for route in of_path)
    allow = ", ".join(method for route in of_path for method in _methods_of(route))

    async def refuse(request: web.Request) -> web.StreamResponse:
        return one_line(HookResponse(405, f"{request.method} is not for this path; expected {expected}"), allow=allow)

    return refuse


def _refuse_path(routes: Sequence[Route]) -> AiohttpHandler:
    listed = ", ".join(f"{route.method} {route.path}" for route in routes if route.is_listed)

    async def refuse(_request: web.Request) -> web.StreamResponse:
        return one_line(HookResponse(404, f"there is nothing here; expected {listed}"))

    return refuse
