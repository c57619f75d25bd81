"""zenwatch/web/auth.py, doors.py and tls.py: who may post."""

import base64
import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.hook import FakeHook
from tests.support.tasks import background, until
from tests.support.web_server import OTHER_TOKEN, TOKEN, serving
from zenwatch.config.core import Settings
from zenwatch.errors import ConfigError
from zenwatch.web import auth
from zenwatch.web.auth import TokenFile
from zenwatch.web.server_config import server_config
from zenwatch.web.tls import Certificate


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


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
        # Whoever can set headers has no need to put a token where proxies log it.
        (f"/audit/webhook/{TOKEN}", "", 404),
        (f"/falco/webhook/x/{TOKEN}", "", 404),
    ],
)
async def test_only_the_bearer_of_the_token_may_post(path: str, authorization: str, status: int, token_file: Path) -> None:
    """As a bearer token, as a basic password, and for Falco as the last part of the path."""
    falco, audit = FakeHook(), FakeHook(path="/audit/webhook", token_in_path=False)
    headers: dict[str, Any] = {"Authorization": authorization} if authorization else {}
    async with serving(falco, audit, environment={"WEBHOOK_TOKEN_FILE": str(token_file)}) as web:
        answered, line, told = await web.post(path, **headers)

    assert answered == status
    assert len(falco.posted + audit.posted) == (status == 200)
    assert TOKEN not in line + str(told) + str(web.logged)
    assert status != 401 or told["WWW-Authenticate"].startswith("Bearer")


async def test_a_body_of_an_unknown_sender_is_not_read(token_file: Path) -> None:
    """It is told so before it has sent a thing."""
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(token_file)}) as web:
        answer = await web.raw(b"POST /falco/webhook HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 401")


def test_a_changed_token_file_is_read_again(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation: both tokens for a while, then the new one only. A broken file locks nobody out."""
    monkeypatch.setattr(auth, "LOOK_AGAIN_SECS", 0.0)
    tokens = TokenFile(str(token_file))
    known: list[tuple[bool, bool]] = []

    def look() -> None:
        known.append((tokens.knows(TOKEN), tokens.knows(OTHER_TOKEN)))

    look()
    token_file.write_text(f"{OTHER_TOKEN}\n\n{TOKEN}\n")
    look()
    token_file.write_text("short")
    with capture_logs() as logged:
        look()
        look()
    token_file.write_text(OTHER_TOKEN)
    look()
    token_file.unlink()
    look()

    assert known == [(True, False), (True, True), (True, True), (True, True), (False, True), (False, True)]
    assert [line["event"] for line in logged] == ["tokens_not_read"]
    assert "short" not in str(logged)


@pytest.mark.parametrize("text", ["", "\n\n", "short\n", "a token with spaces in it\n", "schlüssel-schlüssel-schlüssel\n"])
def test_a_token_file_without_a_usable_token_ends_the_start(text: str, token_file: Path) -> None:
    """It names the setting and what is expected, and quotes nothing."""
    token_file.write_text(text)

    with pytest.raises(ConfigError, match="WEBHOOK_TOKEN_FILE") as raised:
        TokenFile(str(token_file))

    assert not text.strip() or text.strip() not in str(raised.value)


# ---------------------------------------------------------------- what has to be guarded

GUARDED_BY_TOKEN = {"WEBHOOK_TOKEN_FILE": "{token}"}


@pytest.mark.parametrize(
    ("environment", "is_in_pod", "is_open"),
    [
        ({}, False, True),
        ({"LISTEN": "[::1]:8080"}, False, True),
        ({"LISTEN": ":8080"}, False, None),
        ({"LISTEN": "10.0.0.1:8080"}, False, None),
        ({}, True, None),
        ({"LISTEN": "127.0.0.1:8080"}, True, None),
        ({"WEBHOOK_AUTH": "none"}, True, True),
        ({"WEBHOOK_AUTH": "none", "LISTEN": ":8080"}, False, True),
        (GUARDED_BY_TOKEN, True, False),
        (GUARDED_BY_TOKEN, False, False),
        (GUARDED_BY_TOKEN | {"WEBHOOK_AUTH": "none"}, False, True),
    ],
)
def test_nobody_listens_for_everybody_by_accident(
    environment: Mapping[str, str], *, is_in_pod: bool, is_open: bool | None, token_file: Path
) -> None:
    """In a pod, or on an address that others reach, somebody has to say who may post, or that anybody may; then each start warns."""
    settings = Settings.read({name: value.format(token=token_file) for name, value in environment.items()})
    with capture_logs() as logged:
        if is_open is None:
            with pytest.raises(ConfigError, match="WEBHOOK_AUTH=none"):
                server_config(settings, is_in_pod=is_in_pod, clock=FakeClock())
        else:
            config = server_config(settings, is_in_pod=is_in_pod, clock=FakeClock())
            assert config.hooks.authenticate("", has_certificate=False) is is_open

    is_private = not is_in_pod and settings.listen != Settings.read({"LISTEN": ":8080"}).listen
    assert [line["event"] for line in logged] == (["webhooks_open"] if is_open and not is_private else [])


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"TLS_CERT_FILE": "{cert}"}, "TLS_KEY_FILE is empty"),
        ({"TLS_KEY_FILE": "{key}"}, "TLS_CERT_FILE is empty"),
        ({"TLS_CLIENT_CA_FILE": "{cert}"}, "TLS_CERT_FILE is empty"),
        ({"TLS_CERT_FILE": "/nowhere", "TLS_KEY_FILE": "{key}"}, "TLS_CERT_FILE is '/nowhere': No such file"),
        ({"TLS_CERT_FILE": "{key}", "TLS_KEY_FILE": "{cert}"}, "no such PEM"),
        ({"TLS_CERT_FILE": "{cert}", "TLS_KEY_FILE": "{key}", "TLS_CLIENT_CA_FILE": "{key}"}, "TLS_CLIENT_CA_FILE"),
        ({"WEBHOOK_TOKEN_FILE": "/nowhere"}, "WEBHOOK_TOKEN_FILE is '/nowhere': No such file"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start(environment: Mapping[str, str], named: str, certificate: dict[str, str]) -> None:
    """The sentence names the setting."""
    settings = Settings.read({name: value.format(**certificate) for name, value in environment.items()})

    with pytest.raises(ConfigError) as raised:
        server_config(settings, is_in_pod=False, clock=FakeClock())

    assert named in str(raised.value)


# ---------------------------------------------------------------- certificates


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def _write(authority: trustme.CA, folder: Path, name: str = "127.0.0.1") -> dict[str, str]:
    issued = authority.issue_cert(name)
    cert, key, ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
    cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    return {"cert": str(cert), "key": str(key), "ca": str(ca)}


@pytest.fixture
def certificate(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    return _write(authority, tmp_path)


def _tls(certificate: Mapping[str, str], **more: str) -> dict[str, str]:
    return {"TLS_CERT_FILE": certificate["cert"], "TLS_KEY_FILE": certificate["key"], **more}


def _client(authority: trustme.CA, signed_by: trustme.CA | None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if signed_by is not None:
        signed_by.issue_cert("sender.test").configure_cert(context)
    return context


async def test_a_client_certificate_opens_the_door(authority: trustme.CA, certificate: dict[str, str], token_file: Path) -> None:
    """One of the authority that was named; a token does as well where both are configured. Probes need neither."""
    settings = _tls(certificate, TLS_CLIENT_CA_FILE=certificate["ca"], WEBHOOK_TOKEN_FILE=str(token_file))
    hook = FakeHook()
    async with serving(hook, client_tls=_client(authority, authority), environment=settings) as web:
        known, _, _ = await web.post()
        metrics, _, _ = await web.ask("GET", "/metrics")
    async with serving(hook, client_tls=_client(authority, None), environment=settings) as web:
        unknown, _, _ = await web.post()
        closed, _, _ = await web.ask("GET", "/metrics")
        probe, _, _ = await web.ask("GET", "/healthz")
        bearer, _, _ = await web.post(Authorization=f"Bearer {TOKEN}")

    assert (known, metrics, unknown, closed, probe, bearer) == (200, 200, 401, 401, 200, 200)
    assert web.url.startswith("https://")


async def test_a_certificate_of_another_authority_does_not_get_in(authority: trustme.CA, certificate: dict[str, str]) -> None:
    """The handshake ends."""
    settings = _tls(certificate, TLS_CLIENT_CA_FILE=certificate["ca"])
    async with serving(client_tls=_client(authority, trustme.CA()), environment=settings) as web:
        with pytest.raises(aiohttp.ClientError):
            await web.post()


async def test_a_changed_certificate_is_served_without_a_restart(authority: trustme.CA, tmp_path: Path) -> None:
    """cert-manager renews it every few weeks. Half a pair changes nothing."""
    files, clock = _write(authority, tmp_path, "old.test"), FakeClock()
    watched = Certificate(files["cert"], files["key"], "", clock=clock)
    with capture_logs() as logged:
        async with background(watched.watch):
            old = _served_name(authority, watched.context)
            Path(files["cert"]).write_text("half a pair")  # noqa: ASYNC240  a small file
            await clock.pass_one_wait()
            await until(lambda: [line["event"] for line in logged] == ["certificate_not_read"])
            still_old = _served_name(authority, watched.context)
            _write(authority, tmp_path, "new.test")
            await clock.pass_one_wait()
            await until(lambda: [line["event"] for line in logged][-1:] == ["certificate_read_again"])
            new = _served_name(authority, watched.context)

    assert (old, still_old, new) == ("old.test", "old.test", "new.test")
    assert "half a pair" not in str(logged)


def _served_name(authority: trustme.CA, server: ssl.SSLContext) -> str:
    """Which name the certificate has that a client is shown: a handshake in memory."""
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    trusting.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [trusting.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for end in ends * 4:
        with suppress(ssl.SSLWantReadError):
            end.do_handshake()
    said = ends[0].getpeercert() or {}
    names: Any = said["subjectAltName"]
    return str(names[0][1])


async def test_metrics_are_for_whoever_may_post(token_file: Path) -> None:
    """Unless the user says otherwise."""
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(token_file)}) as web:
        closed, line, _ = await web.ask("GET", "/metrics")
        opened, _, _ = await web.ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(token_file), "METRICS_AUTH": "none"}) as web:
        free, _, _ = await web.ask("GET", "/metrics")

    assert (closed, opened, free) == (401, 200, 200)
    assert "METRICS_AUTH" in line
