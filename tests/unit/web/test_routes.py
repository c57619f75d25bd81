"""zenwatch/web/routes.py and application.py: each path has its method, its role and its handler; all else is one line that helps."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web as aiohttp_web

from tests.support.fakes.hook import FakeHook
from tests.support.web.server import TOKEN, routes_of, serving
from zenwatch.contract import HookResponse
from zenwatch.contract.principal import Principal, Role
from zenwatch.web.routes import Route
from zenwatch.wiring.plugins import OWN_PATHS

HOOKS = (FakeHook(), FakeHook(path="/audit/webhook", token_in_path=False))
LISTED = "POST /falco/webhook, POST /audit/webhook, GET /healthz, GET /readyz, GET /metrics, GET /explain, GET /top, GET /status"


def test_every_route_but_the_probes_needs_a_role() -> None:
    """This is the whole surface: a route that is added here is added on purpose."""
    table = {(route.method, route.path): route.role for route in routes_of(*HOOKS)}

    assert table == {
        ("POST", "/falco/webhook"): Role.POST_EVENTS,
        ("POST", "/falco/webhook/{token:[^/]+}"): Role.POST_EVENTS,
        ("POST", "/audit/webhook"): Role.POST_EVENTS,
        ("GET", "/healthz"): None,
        ("GET", "/readyz"): None,
        ("GET", "/metrics"): Role.READ_METRICS,
        ("GET", "/explain"): Role.READ_STATUS,
        ("GET", "/top"): Role.READ_STATUS,
        ("GET", "/status"): Role.READ_STATUS,
    }


def test_no_watcher_can_have_a_path_of_the_server() -> None:
    """Its webhook would hide the page, or the page the webhook."""
    assert {route.path for route in routes_of()} == OWN_PATHS


async def test_a_body_reaches_the_hook_of_its_path() -> None:
    """As it was sent, with its media type."""
    falco, audit = FakeHook(), FakeHook(path="/audit/webhook")
    async with serving(falco, audit) as web:
        status, line, _ = await web.post("/audit/webhook", b'{"a": 1}')
        await web.post("/falco/webhook", b"{}", Content_Type="application/json; charset=utf-8")

    assert (status, line) == (200, "1 taken\n")
    assert audit.posted == [(b'{"a": 1}', "application/json")]
    assert falco.posted == [(b"{}", "application/json")]
    assert audit.counted == {200: 1}


async def test_the_hook_decides_when_the_sender_comes_again() -> None:
    """The API server honours Retry-After within its own attempts."""
    async with serving(FakeHook(response=HookResponse(429, "full", 1))) as web:
        status, line, headers = await web.post()

    assert (status, line, headers["Retry-After"]) == (429, "full\n", "1")


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("path", ["/", "/nowhere?x=1", "/falco", "/falco/webhook/", "/falco/webhook/a/b", "/healthz/", "//healthz"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_a_path_that_does_not_exist_is_answered_with_those_that_do(method: str, path: str) -> None:
    """To everybody: the paths are no secret, and a form with a token is not listed."""
    async with serving(*HOOKS) as web:
        status, line, headers = await web.ask(method, path)

    assert (status, line) == (404, f"there is nothing here; expected {LISTED}\n")
    assert (headers["Content-Type"], "Allow" in headers) == ("text/plain; charset=utf-8", False)


@pytest.mark.parametrize(
    ("method", "path", "expected", "allow"),
    [
        ("GET", "/falco/webhook", "POST", "POST"),
        ("PUT", "/falco/webhook", "POST", "POST"),
        ("GET", "/falco/webhook/any-token", "POST", "POST"),
        ("POST", "/metrics", "GET", "GET, HEAD"),
        ("OPTIONS", "/status", "GET", "GET, HEAD"),
        ("DELETE", "/healthz", "GET", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_have_is_answered_with_those_that_it_has(
    method: str, path: str, expected: str, allow: str, tmp_path: Path
) -> None:
    """Before anybody is asked for a token: a webhook shows so that it exists."""
    (tmp_path / "token").write_text(TOKEN)
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        status, line, headers = await web.ask(method, path)

    assert (status, line, headers["Allow"]) == (405, f"{method} is not for this path; expected {expected}\n", allow)


async def test_every_get_route_answers_head() -> None:
    """The same headers, without a body."""
    async with serving() as web:
        get = await web.ask("GET", "/status")
        head = await web.ask("HEAD", "/status")

    assert (head[0], head[1]) == (get[0], "")
    assert head[2]["Content-Length"] == get[2]["Content-Length"]


@pytest.mark.parametrize(
    ("headers", "status", "line"),
    [
        (
            {"Content-Type": "application/x-www-form-urlencoded"},
            415,
            "the Content-Type is 'application/x-www-form-urlencoded'; expected application/json",
        ),
        ({"Content-Type": "image/png"}, 415, "the Content-Type is 'image/png'; expected application/json"),
        ({"Content-Encoding": "br"}, 415, "the Content-Encoding is not known; expected gzip or none"),
        ({}, 400, "the body is empty"),
    ],
)
async def test_a_request_that_is_wrong_reads_what_is_expected(headers: dict[str, str], status: int, line: str) -> None:
    """One line, and nothing reaches the hook. The answer is counted."""
    hook = FakeHook()
    sent = {"Content-Type": "application/json"} | headers
    async with serving(hook) as web:
        answered, text, _ = await web.ask("POST", "/falco/webhook", headers=sent, data=b" " if status == 400 else b"{}")

    assert (answered, text) == (status, f"{line}\n")
    assert (hook.posted, hook.counted) == ([], {status: 1})


async def test_every_answer_on_a_webhooks_path_is_counted(tmp_path: Path) -> None:
    """Also those to senders that never get as far as the hook, and on the path with a token."""
    (tmp_path / "token").write_text(TOKEN)
    hook = FakeHook()
    async with serving(hook, environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        await web.ask("GET", "/falco/webhook")
        await web.ask("GET", "/falco/webhook/any-token")
        await web.post()
        await web.post(f"/falco/webhook/{TOKEN}")
        await web.post(f"/falco/webhook/{TOKEN}", b"x" * 2000)
        await web.ask("GET", "/nowhere")

    assert hook.counted == {405: 2, 401: 1, 200: 1, 413: 1}
    assert set(hook.senders) == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("path", "body", "status"), [("/falco/webhook", b"{}", 401), ("/status", b"{}", 405), (f"/falco/webhook/{TOKEN}", b"x" * 2000, 413)]
)
async def test_a_connection_ends_where_the_rest_of_the_body_is_not_read(path: str, body: bytes, status: int, tmp_path: Path) -> None:
    """A sender that may not post could send it forever."""
    (tmp_path / "token").write_text(TOKEN)
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        answered, _, headers = await web.post(path, body)

    assert (answered, headers.get("Connection") == "close") == (status, status != 405)


# ---------------------------------------------------------------- questions


async def test_whoever_may_read_the_status_may_ask_what_became_of_an_event(tmp_path: Path) -> None:
    """The key is a parameter of the URL: keys have slashes."""
    (tmp_path / "token").write_text(TOKEN)
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        closed, closed_line, _ = await web.ask("GET", "/explain", params={"q": "a/b c"})
        found = await web.ask("GET", "/explain", params={"q": "a/b c"}, headers=bearer)
        nothing, line, _ = await web.ask("GET", "/explain", headers=bearer)

    assert (closed, closed_line) == (401, "a valid bearer token or client certificate is required\n")
    assert (nothing, line) == (400, "nothing was asked for\n")
    assert (found[0], found[1]) == (200, '[{"key":"a/b c","outcome":"stored"}]')
    assert found[2]["Content-Type"] == "application/json"


async def test_the_status_is_json_with_the_fields_of_the_model() -> None:
    """`zenwatch doctor` reads it into the same class."""
    async with serving() as web:
        status, text, _ = await web.ask("GET", "/status")

    assert status == 200
    assert text == (
        '{"version":"0.1.0","started_at":"2026-01-01T00:00:00Z","sources":{},'
        '"budget":{"records":1,"records_limit":10,"bytes":2,"bytes_limit":20,"rolled_up":0},"writes":{"retries":0,"failing":false,"refused":[]}}'
    )


async def test_metrics_are_in_the_form_that_the_scraper_accepts() -> None:
    """OpenMetrics where it is accepted, else the text format."""
    async with serving() as web:
        status, text, headers = await web.ask("GET", "/metrics")
        _, newer, newer_headers = await web.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert "# TYPE zenwatch_findings_received_total counter" in text
    assert newer_headers["Content-Type"].startswith("application/openmetrics-text")
    assert newer.endswith("# EOF\n")


# ---------------------------------------------------------------- routes that are still to come


async def _show(request: aiohttp_web.Request, principal: Principal) -> aiohttp_web.StreamResponse:
    return aiohttp_web.json_response({**request.match_info, "method": request.method, "principal": principal.kind})


async def _ask_all(routes: list[Route], *requests: tuple[str, str]) -> list[tuple[int, str, Mapping[str, str]]]:
    async with serving(routes=routes) as web:
        return await asyncio.gather(*(web.ask(method, path) for method, path in requests))


async def test_a_new_route_is_one_line_of_the_table() -> None:
    """A page, two methods of an API on one path, a webhook per cluster. The handler gets the principal."""
    added = [
        Route("GET", "/page", _show, Role.READ_STATUS),
        Route("GET", "/api/{name}", _show, Role.READ_STATUS),
        *routes_of(),
        Route("PUT", "/api/{name}", _show, Role.READ_STATUS),
        Route("POST", "/audit-webhook/{cluster_id}", _show, Role.POST_EVENTS),
    ]

    page, read, written, posted, wrong = await _ask_all(
        added, ("GET", "/page"), ("GET", "/api/a%2Fb"), ("PUT", "/api/a"), ("POST", "/audit-webhook/east"), ("DELETE", "/api/a")
    )

    assert (page[0], page[1]) == (200, '{"method": "GET", "principal": "anonymous"}')
    assert read[1] == '{"name": "a/b", "method": "GET", "principal": "anonymous"}'
    assert written[1] == '{"name": "a", "method": "PUT", "principal": "anonymous"}'
    assert posted[1] == '{"cluster_id": "east", "method": "POST", "principal": "anonymous"}'
    assert (wrong[0], wrong[1], wrong[2]["Allow"]) == (405, "DELETE is not for this path; expected GET or PUT\n", "GET, HEAD, PUT")
