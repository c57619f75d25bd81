"""zenwatch/web/auth.py: who sends a request, and which roles that gives."""

import base64
from collections.abc import Collection
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs

from tests.support.fakes.hook import FakeHook
from tests.support.web.certificates import client_context, tls_settings, write_certificate
from tests.support.web.server import OTHER_TOKEN, TOKEN, serving
from zenwatch.contract.principal import ALL_ROLES, PrincipalKind, Role
from zenwatch.errors import ConfigError
from zenwatch.web import auth
from zenwatch.web.auth import Authenticator, Grants, TokenFile

NOBODY: frozenset[Role] = frozenset()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


def grants(*, token: Collection[Role] = ALL_ROLES, certificate: Collection[Role] = ALL_ROLES, anonymous: Collection[Role] = ()) -> Grants:
    return Grants(frozenset(token), frozenset(certificate), frozenset(anonymous))


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ---------------------------------------------------------------- tokens


@pytest.mark.parametrize(
    ("path", "authorization", "status"),
    [
        ("/falco/webhook", f"Bearer {TOKEN}", 200),
        ("/falco/webhook", f"bearer  {TOKEN} ", 200),
        ("/falco/webhook", _basic("falco", TOKEN), 200),
        (f"/falco/webhook/{TOKEN}", "", 200),
        (f"/falco/webhook/{OTHER_TOKEN}", f"Bearer {TOKEN}", 200),
        ("/audit/webhook", f"Bearer {TOKEN}", 200),
        ("/audit/webhook", _basic("apiserver", TOKEN), 200),
        ("/falco/webhook", "", 401),
        ("/falco/webhook", f"Bearer {OTHER_TOKEN}", 401),
        ("/falco/webhook", f"Bearer {TOKEN}x", 401),
        ("/falco/webhook", "Bearer ", 401),
        ("/falco/webhook", "Bearer é", 401),
        ("/falco/webhook", TOKEN, 401),
        ("/falco/webhook", _basic(TOKEN, ""), 401),
        ("/falco/webhook", "Basic ???", 401),
        (f"/falco/webhook/{OTHER_TOKEN}", "", 401),
        ("/falco/webhook/%7Bcurly%7D", "", 401),
        # A sender that can set headers does not need a token in the path, where proxies log it.
        (f"/audit/webhook/{TOKEN}", "", 404),
        (f"/falco/webhook/x/{TOKEN}", "", 404),
    ],
)
async def test_only_the_bearer_of_the_token_may_post(
    path: str, authorization: str, status: int, token_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a bearer token, as a basic password, and for Falco as the last part of the path. No response and no log contains a token."""
    caplog.set_level("DEBUG")
    falco, audit = FakeHook(), FakeHook(path="/audit/webhook", token_in_path=False)
    headers: dict[str, Any] = {"Authorization": authorization} if authorization else {}
    async with serving(falco, audit, environment={"WEBHOOK_TOKEN_FILE": str(token_file)}) as web:
        answered, line, received = await web.post(path, **headers)

    assert answered == status
    assert len(falco.posted + audit.posted) == (status == 200)
    assert TOKEN not in line + str(received) + str(web.logged) + caplog.text
    assert status != 401 or received["WWW-Authenticate"].startswith("Bearer")


async def test_a_token_may_have_any_printable_character(token_file: Path) -> None:
    """In a path it is encoded, a slash too."""
    odd = "a/b?c#d%e{f}g&h-0123456789"
    token_file.write_text(odd)  # noqa: ASYNC240  a small file
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(token_file)}) as web:
        host, port = web.address
        path = b"/falco/webhook/a%2Fb%3Fc%23d%25e%7Bf%7Dg&h-0123456789"
        head = f"Host: {host}:{port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 2"
        request = b"POST " + path + f" HTTP/1.1\r\n{head}\r\n\r\n{{}}".encode()
        in_path = await web.raw(request)
        in_header, _, _ = await web.post(Authorization=f"Bearer {odd}")

    assert (in_path[:12], in_header) == (b"HTTP/1.1 200", 200)


async def test_a_body_of_an_unknown_sender_is_not_read(token_file: Path) -> None:
    """The answer comes before the sender has sent anything of it."""
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(token_file)}) as web:
        received = await web.raw(b"POST /falco/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 401")


def test_a_changed_token_file_is_read_again(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation: both tokens for a while, then only the new one. A broken file locks nobody out."""
    monkeypatch.setattr(auth, "CHECK_FILE_SECS", 0.0)
    tokens = TokenFile(str(token_file))
    known: list[tuple[bool, bool]] = []

    def check() -> None:
        known.append((tokens.knows(TOKEN), tokens.knows(OTHER_TOKEN)))

    check()
    token_file.write_text(f"{OTHER_TOKEN}\n\n{TOKEN}\n")
    check()
    token_file.write_text("short")
    with capture_logs() as logged:
        check()
        check()
    token_file.write_text(OTHER_TOKEN)
    check()
    token_file.unlink()
    check()

    assert known == [(True, False), (True, True), (True, True), (True, True), (False, True), (False, True)]
    assert [line["event"] for line in logged] == ["tokens_not_read"]
    assert "short" not in str(logged)


@pytest.mark.parametrize("text", ["", "\n\n", "short\n", "a token with spaces in it\n", "schlüssel-schlüssel-schlüssel\n"])
def test_a_token_file_without_a_usable_token_ends_the_start(text: str, token_file: Path) -> None:
    """The sentence names the setting and what is expected, and quotes nothing."""
    token_file.write_text(text)

    with pytest.raises(ConfigError, match="WEBHOOK_TOKEN_FILE") as raised:
        TokenFile(str(token_file))

    assert not text.strip() or text.strip() not in str(raised.value)


# ---------------------------------------------------------------- principals


def test_a_principal_is_named_by_what_it_shows_and_never_by_a_secret(token_file: Path) -> None:
    """The common name of a certificate, else its first alternative name."""
    authenticator = Authenticator(TokenFile(str(token_file)), grants(anonymous=[Role.READ_METRICS]))
    subject = ((("organizationName", "o"),), (("commonName", "falco"),))

    bearer = authenticator.authenticate(f"Bearer {TOKEN}")
    in_path = authenticator.authenticate("", path_token=TOKEN)
    named = authenticator.authenticate("", certificate={"subject": subject, "subjectAltName": (("DNS", "a.test"),)})
    unnamed = authenticator.authenticate("", certificate={"subject": (), "subjectAltName": (("DNS", "a.test"), ("DNS", "b.test"))})
    stranger = authenticator.authenticate(f"Bearer {OTHER_TOKEN}")

    assert bearer == in_path
    found = [principal for principal in (bearer, named, unnamed, stranger) if principal]
    assert [(principal.name, principal.kind) for principal in found] == [
        ("the bearer of a token", PrincipalKind.TOKEN),
        ("falco", PrincipalKind.CERTIFICATE),
        ("a.test", PrincipalKind.CERTIFICATE),
        ("anonymous", PrincipalKind.ANONYMOUS),
    ]
    assert {(principal.cluster_id, principal.namespaces) for principal in found} == {(None, None)}


def test_a_stranger_is_nobody_where_anonymous_senders_have_no_role(token_file: Path) -> None:
    """With and without a token file."""
    assert Authenticator(TokenFile(str(token_file)), grants()).authenticate(f"Bearer {OTHER_TOKEN}") is None
    assert Authenticator(None, grants()).authenticate(f"Bearer {TOKEN}", path_token=TOKEN) is None


def test_what_anybody_may_do_a_known_sender_may_do_too(token_file: Path) -> None:
    """A token must not take a role away."""
    authenticator = Authenticator(TokenFile(str(token_file)), grants(token=[Role.POST_EVENTS], anonymous=[Role.READ_METRICS]))

    principal = authenticator.authenticate(f"Bearer {TOKEN}")

    assert principal is not None
    assert principal.roles == {Role.POST_EVENTS, Role.READ_METRICS}


async def test_a_token_that_may_only_post_reads_nothing(token_file: Path) -> None:
    """Posting and reading are different roles: 403 names the role that is missing; a stranger is still a stranger."""
    authenticator = Authenticator(TokenFile(str(token_file)), grants(token=[Role.POST_EVENTS]))
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with serving(authenticator=authenticator) as web:
        posted, _, _ = await web.post(Authorization=bearer["Authorization"])
        refused = [await web.ask("GET", path, headers=bearer) for path in ("/explain?q=a", "/top", "/status", "/metrics")]
        unknown, _, _ = await web.ask("GET", "/status")
        probe, _, _ = await web.ask("GET", "/readyz")

    assert (posted, unknown, probe) == (200, 401, 200)
    assert [(status, line) for status, line, _ in refused] == [
        *[(403, "the bearer of a token does not have the role read-status\n")] * 3,
        (403, "the bearer of a token does not have the role read-metrics\n"),
    ]


async def test_a_token_that_may_only_read_posts_nothing(token_file: Path) -> None:
    """Its body is not read."""
    hook = FakeHook()
    authenticator = Authenticator(TokenFile(str(token_file)), grants(token=[Role.READ_STATUS]))
    async with serving(hook, authenticator=authenticator) as web:
        status, line, _ = await web.post(Authorization=f"Bearer {TOKEN}")
        read, _, _ = await web.ask("GET", "/status", headers={"Authorization": f"Bearer {TOKEN}"})

    assert (status, line, read) == (403, "the bearer of a token does not have the role post-events\n", 200)
    assert (hook.posted, hook.counted) == ([], {403: 1})


# ---------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


async def test_the_owner_of_a_client_certificate_may_do_what_the_bearer_of_a_token_may(
    authority: trustme.CA, tmp_path: Path, token_file: Path
) -> None:
    """The certificate is signed by an authority in TLS_CLIENT_CA_FILE. Where both are configured, either is enough. Probes need neither."""
    paths = write_certificate(authority, tmp_path)
    settings = tls_settings(paths, TLS_CLIENT_CA_FILE=paths["ca"], WEBHOOK_TOKEN_FILE=str(token_file))
    hook = FakeHook()
    async with serving(hook, client_tls=client_context(authority, signed_by=authority), environment=settings) as web:
        known, _, _ = await web.post()
        metrics, _, _ = await web.ask("GET", "/metrics")
    async with serving(hook, client_tls=client_context(authority), environment=settings) as web:
        unknown, _, _ = await web.post()
        closed, _, _ = await web.ask("GET", "/metrics")
        probe, _, _ = await web.ask("GET", "/healthz")
        bearer, _, _ = await web.post(Authorization=f"Bearer {TOKEN}")

    assert (known, metrics, unknown, closed, probe, bearer) == (200, 200, 401, 401, 200, 200)
    assert web.url.startswith("https://")


async def test_a_certificate_of_another_authority_ends_the_handshake(authority: trustme.CA, tmp_path: Path) -> None:
    """The request never arrives."""
    paths = write_certificate(authority, tmp_path)
    stranger = client_context(authority, signed_by=trustme.CA())
    async with serving(client_tls=stranger, environment=tls_settings(paths, TLS_CLIENT_CA_FILE=paths["ca"])) as web:
        with pytest.raises(aiohttp.ClientError):
            await web.post()


async def test_the_name_of_a_sender_is_that_of_its_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    """As the TLS library passes the certificate on."""
    paths = write_certificate(authority, tmp_path)
    sender = client_context(authority, signed_by=authority, common_name="falco")
    settings = tls_settings(paths, TLS_CLIENT_CA_FILE=paths["ca"])
    authenticator = Authenticator(None, grants(certificate=[Role.READ_STATUS]))
    async with serving(client_tls=sender, environment=settings, authenticator=authenticator) as web:
        status, line, _ = await web.post()

    assert (status, line) == (403, "falco does not have the role post-events\n")
