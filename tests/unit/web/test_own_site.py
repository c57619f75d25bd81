"""zenwatch/web/own_site.py: a web page of another site can neither post to zenwatch nor read it."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.fakes.hook import FakeHook
from tests.support.web.server import TOKEN, WebClient, serving
from zenwatch.contract.principal import ALL_ROLES
from zenwatch.web.auth import Authenticator, Grants
from zenwatch.web.own_site import OwnSite, is_service_name

WEBSOCKET = {"Upgrade": "websocket", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
PATHS = ("/healthz", "/readyz", "/metrics", "/top", "/explain?q=a", "/status", "/nowhere", "/falco/webhook")


async def status_of(web: WebClient, method: str, target: str, *lines: str, body: str = "") -> tuple[int, str]:
    """Status and text of a request whose headers are as they are given. A Host is among them."""
    head = [f"{method} {target} HTTP/1.1", *lines, "Connection: close", f"Content-Length: {len(body)}"]
    received = (await web.raw(("\r\n".join(head) + "\r\n\r\n" + body).encode())).decode()
    status, _, rest = received.partition("\r\n")
    return int(status.split()[1]), rest.partition("\r\n\r\n")[2]


# ---------------------------------------------------------------- Host


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
async def test_a_name_that_was_rebound_to_the_loopback_reaches_no_path(method: str, path: str) -> None:
    """The browser takes such a page for one of this server's own: only the Host shows that it is not."""
    hook = FakeHook()
    async with serving(hook) as web:
        status, line = await status_of(web, method, path, "Host: rebound.evil.example", "Content-Type: application/json", body="{}")

    assert (status, hook.posted) == (403, [])
    assert method == "HEAD" or ("'rebound.evil.example'" in line and "ALLOWED_HOSTS" in line)
    assert hook.counted == ({403: 1} if path == "/falco/webhook" else {})


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8080", True),
        ("10.1.2.3:8080", True),
        ("[::1]:8080", True),
        ("[fe80::1%25eth0]:8080", True),
        ("localhost", True),
        ("LOCALHOST:8080", True),
        ("localhost.:8080", True),
        ("127.0.0.1.", True),
        ("evil.example", False),
        ("evil.example:8080", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil.localhost", False),
        ("zenwatch", False),
        ("zenwatch.zenwatch.svc", False),
        ("evil.example@127.0.0.1", False),
        ("127.0.0.1, evil.example", False),
        ("127.0.0.1 evil.example", False),
        ("[::1]evil.example", False),
        ("::1", False),
        ("", False),
    ],
)
async def test_on_loopback_only_addresses_and_localhost_are_taken(host: str, *, is_own: bool) -> None:
    """Rebinding needs a name. An address is what the browser itself connected to."""
    async with serving() as web:
        status, _ = await status_of(web, "GET", "/metrics", f"Host: {host}")

    assert status == (200 if is_own else 403)


async def test_a_second_host_and_a_missing_one_are_refused() -> None:
    """RFC 9112, section 3.2. A request of HTTP/1.0 needs none: no browser sends it, some load balancers' probes do."""
    async with serving() as web:
        two, _ = await status_of(web, "GET", "/metrics", "Host: 127.0.0.1", "Host: evil.example")
        none, _ = await status_of(web, "GET", "/metrics")
        old = await web.raw(b"GET /healthz HTTP/1.0\r\n\r\n")

    assert (two, none) == (400, 400)
    assert old.startswith(b"HTTP/1.0 200")


async def test_the_target_of_a_request_counts_as_its_host_does() -> None:
    """RFC 9112, section 3.2.2: an absolute target stands before the Host."""
    async with serving() as web:
        foreign, line = await status_of(web, "GET", "http://evil.example/metrics", "Host: 127.0.0.1")
        foreign_host, _ = await status_of(web, "GET", "http://127.0.0.1/metrics", "Host: evil.example")
        own, _ = await status_of(web, "GET", "http://127.0.0.1:8080/metrics", "Host: 127.0.0.1:8080")
        tunnel, _ = await status_of(web, "CONNECT", "evil.example:80", "Host: 127.0.0.1")
        every, _ = await status_of(web, "OPTIONS", "*", "Host: evil.example")

    assert (foreign, foreign_host, own) == (403, 403, 200)
    assert "'evil.example'" in line
    assert (tunnel, every) == (404, 404)


async def test_a_setting_adds_names() -> None:
    """For a proxy on the same machine, or a name in /etc/hosts."""
    async with serving(environment={"ALLOWED_HOSTS": "Zen.Example., other.example"}) as web:
        statuses = [
            (await status_of(web, "GET", "/metrics", f"Host: {host}"))[0]
            for host in ("zen.example", "ZEN.EXAMPLE.:80", "other.example:8080", "x.zen.example", "example")
        ]

    assert statuses == [200, 200, 200, 403, 403]


async def test_whoever_shows_a_token_may_use_any_name(tmp_path: Path) -> None:
    """A page has none. A relay on the same machine may keep the name under which it is reached."""
    (tmp_path / "token").write_text(TOKEN)
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        known, _ = await status_of(web, "GET", "/metrics", "Host: zen.example", f"Authorization: Bearer {TOKEN}")
        in_path, _ = await status_of(
            web, "POST", f"/falco/webhook/{TOKEN}", "Host: zen.example", "Content-Type: application/json", body="{}"
        )
        unknown, _ = await status_of(web, "GET", "/healthz", "Host: zen.example", "Authorization: Bearer 0123456789abcdef-wrong")

    assert (known, in_path, unknown) == (200, 200, 403)


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("zenwatch", True),
        ("zenwatch.zenwatch.svc", True),
        ("zenwatch.zenwatch.svc.cluster.local", True),
        # A public name may end like the short form: there is a domain dev.
        ("zenwatch.dev", False),
        ("zenwatch.svc.evil.example", False),
        ("cluster.local.evil.example", False),
    ],
)
def test_in_a_pod_a_name_of_a_service_is_taken_too(name: str, *, is_one: bool) -> None:
    """Nobody outside the cluster can own such a name."""
    authenticator = Authenticator(None, Grants(token=ALL_ROLES, certificate=ALL_ROLES, anonymous=ALL_ROLES))

    assert is_service_name(name) == is_one
    assert OwnSite([], authenticator, checks_names=True, is_in_pod=True).has_name(name) == is_one
    assert not OwnSite([], authenticator, checks_names=True, is_in_pod=False).has_name(name)


# ---------------------------------------------------------------- Origin, Sec-Fetch-Site


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
        # Of a sandboxed frame, a file, and a redirect over another site.
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://evil.example@127.0.0.1:8080"},
        {"Origin": "file://"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Sec-Fetch-Site": "anything"},
        # A frame, a link and an image of another site: browsers send no Origin with a GET.
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        # A WebSocket is open to every site unless the server looks at the Origin.
        {"Origin": "http://evil.example"} | WEBSOCKET,
    ],
)
async def test_a_page_of_another_site_is_refused_on_every_path(headers: Mapping[str, str], path: str) -> None:
    """A port of localhost is another origin too. The refusal says by which header, and no header lets the page read it."""
    hook = FakeHook()
    lines = [f"{name}: {value}" for name, value in headers.items()]
    async with serving(hook) as web:
        get, line = await status_of(web, "GET", path, "Host: 127.0.0.1:8080", *lines)
        post, _ = await status_of(web, "POST", path, "Host: 127.0.0.1:8080", "Content-Type: application/json", *lines, body="{}")

    assert (get, post, hook.posted) == (403, 403, [])
    assert "(Origin)" in line or "(Sec-Fetch-Site)" in line
    assert "ALLOWED_HOSTS" in line


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: 127.0.0.1:8080", "Origin: http://127.0.0.1:8080", "Sec-Fetch-Site: same-origin"),
        ("Host: LOCALHOST.:8080", "Origin: http://localhost:8080"),
        ("Host: localhost", "Origin: http://localhost:80"),
        ("Host: localhost:443", "Origin: https://localhost"),
        ("Host: [::1]:8080", "Origin: http://[::1]:8080"),
        # A person typed the address.
        ("Host: 127.0.0.1:8080", "Sec-Fetch-Site: none"),
        # A proxy that terminates TLS under a name of ours, and names itself as the Host.
        ("Host: 127.0.0.1:8080", "Origin: https://zen.example", "Sec-Fetch-Site: same-origin"),
    ],
)
async def test_a_page_of_our_own_is_taken(headers: tuple[str, ...]) -> None:
    """Same host and port, or a name of ALLOWED_HOSTS."""
    async with serving(environment={"ALLOWED_HOSTS": "zen.example"}) as web:
        status, _ = await status_of(web, "GET", "/metrics", *headers)

    assert status == 200


async def test_two_origins_are_refused() -> None:
    """One of them might be ours."""
    async with serving() as web:
        status, _ = await status_of(web, "GET", "/metrics", "Host: localhost", "Origin: http://localhost", "Origin: http://evil.example")

    assert status == 403


async def test_a_preflight_gets_no_leave() -> None:
    """The browser asks before a page sends JSON, or reaches into a private network."""
    asks = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization",
        "Access-Control-Request-Private-Network": "true",
    }
    async with serving() as web:
        foreign = await web.ask("OPTIONS", "/falco/webhook", headers=asks)
        own = await web.ask("OPTIONS", "/falco/webhook", headers=asks | {"Origin": web.url})

    assert (foreign[0], own[0]) == (403, 405)
    assert not [name for name in (*foreign[2], *own[2]) if name.lower().startswith("access-control")]


async def test_no_other_site_may_embed_what_is_answered() -> None:
    """Old browsers send neither Origin nor Sec-Fetch-Site with <img> and <script>; they honour at least these."""
    async with serving() as web:
        answers = [await web.ask("GET", path) for path in ("/healthz", "/metrics", "/status", "/nowhere", "/falco/webhook")]

    for _, _, headers in answers:
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_a_token_does_not_open_zenwatch_to_other_sites(tmp_path: Path) -> None:
    """A browser may remember a password for an address and send it along."""
    (tmp_path / "token").write_text(TOKEN)
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        status, _, _ = await web.ask("GET", "/metrics", headers=bearer | {"Sec-Fetch-Site": "cross-site"})

    assert status == 403


# ---------------------------------------------------------------- media types


@pytest.mark.parametrize(
    "media_type",
    [None, "", "text/plain", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"],
)
async def test_what_a_page_may_send_unasked_is_taken_from_nobody_unknown(media_type: str | None) -> None:
    """Forms, beacons and fetch() send these to any site without a preflight, in old browsers without an Origin too."""
    hook = FakeHook(media_types=("application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"))
    lines = [] if media_type is None else [f"Content-Type: {media_type}"]
    async with serving(hook) as web:
        status, line = await status_of(web, "POST", "/falco/webhook", "Host: 127.0.0.1", *lines, body='{"output": "x"}')

    assert (status, hook.posted, hook.counted) == (415, [], {415: 1})
    assert "application/json" in line
    assert line.count("\n") == 1


async def test_a_sender_with_a_token_may_post_text(tmp_path: Path) -> None:
    """Falco with json_output: false. Without any type nobody may post."""
    (tmp_path / "token").write_text(TOKEN)
    hook = FakeHook()
    async with serving(hook, environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        text, _ = await status_of(web, "POST", f"/falco/webhook/{TOKEN}", "Host: 127.0.0.1", "Content-Type: text/plain", body="x")
        untyped, line = await status_of(web, "POST", f"/falco/webhook/{TOKEN}", "Host: 127.0.0.1", body="{}")

    assert (text, untyped, hook.posted) == (200, 415, [(b"x", "text/plain")])
    assert line == "the Content-Type is missing; expected application/json or text/plain\n"
