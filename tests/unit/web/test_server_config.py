"""zenwatch/web/server_config.py: which roles the settings give to whom, and which settings cannot be used."""

from collections.abc import Mapping

import pytest
import trustme
from structlog.testing import capture_logs

from tests.support.fakes.clock import FakeClock
from tests.support.web.certificates import write_certificate
from tests.support.web.server import TOKEN, serving
from zenwatch.contract.principal import ALL_ROLES, Role
from zenwatch.errors import ConfigError
from zenwatch.web.server_config import ServerConfig, server_config
from zenwatch.wiring.settings import Settings

WITH_TOKEN = {"WEBHOOK_TOKEN_FILE": "{token}"}
CERTIFICATE = {"subject": ((("commonName", "falco"),),)}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The paths of token, cert, key and ca."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "token").write_text(TOKEN)
    return {"token": str(folder / "token"), **write_certificate(trustme.CA(), folder)}


def config(environment: Mapping[str, str], files: Mapping[str, str], *, is_in_pod: bool = False) -> ServerConfig:
    settings = Settings.read({name: value.format(**files) for name, value in environment.items()})
    return server_config(settings, is_in_pod=is_in_pod, clock=FakeClock())


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
        (WITH_TOKEN, True, False),
        (WITH_TOKEN, False, False),
        (WITH_TOKEN | {"WEBHOOK_AUTH": "none"}, False, True),
    ],
)
def test_no_server_is_open_to_others_by_accident(
    environment: Mapping[str, str], *, is_in_pod: bool, is_open: bool | None, files: dict[str, str]
) -> None:
    """In a pod, or on an address that others reach, a setting decides who may post, or that anybody may; then each start warns."""
    with capture_logs() as logged:
        if is_open is None:
            with pytest.raises(ConfigError, match="WEBHOOK_AUTH=none"):
                config(environment, files, is_in_pod=is_in_pod)
        else:
            stranger = config(environment, files, is_in_pod=is_in_pod).authenticator.authenticate("")
            assert (stranger.roles if stranger else frozenset()) == (ALL_ROLES if is_open else frozenset())

    is_private = not is_in_pod and environment.get("LISTEN") != ":8080"
    assert [line["event"] for line in logged] == (["webhooks_open"] if is_open and not is_private else [])


@pytest.mark.parametrize(
    ("environment", "anonymous"),
    [
        (WITH_TOKEN, frozenset()),
        (WITH_TOKEN | {"METRICS_AUTH": "none"}, {Role.READ_METRICS}),
        (WITH_TOKEN | {"WEBHOOK_AUTH": "none"}, ALL_ROLES),
        (WITH_TOKEN | {"WEBHOOK_AUTH": "none", "METRICS_AUTH": "none"}, ALL_ROLES),
    ],
)
def test_a_known_sender_may_do_all_and_a_setting_opens_metrics_alone(
    environment: Mapping[str, str], anonymous: frozenset[Role], files: dict[str, str]
) -> None:
    """METRICS_AUTH=none opens metrics only; WEBHOOK_AUTH=none opens all."""
    authenticator = config(environment, files).authenticator

    bearer, owner = authenticator.authenticate(f"Bearer {TOKEN}"), authenticator.authenticate("", certificate=CERTIFICATE)
    stranger = authenticator.authenticate("Bearer of nothing")

    assert bearer is not None
    assert owner is not None
    assert (bearer.roles, owner.roles) == (ALL_ROLES, ALL_ROLES)
    assert (stranger.roles if stranger else frozenset()) == anonymous


async def test_metrics_need_a_token_unless_a_setting_opens_them(files: dict[str, str]) -> None:
    """The refusal names the setting."""
    environment = {"WEBHOOK_TOKEN_FILE": files["token"]}
    async with serving(environment=environment) as web:
        closed, line, _ = await web.ask("GET", "/metrics")
        opened, _, _ = await web.ask("GET", "/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    async with serving(environment=environment | {"METRICS_AUTH": "none"}) as web:
        free, _, _ = await web.ask("GET", "/metrics")
        still_closed, _, _ = await web.ask("GET", "/status")

    assert (closed, opened, free, still_closed) == (401, 200, 200, 401)
    assert "METRICS_AUTH" in line


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
def test_a_file_that_cannot_be_used_ends_the_start(environment: Mapping[str, str], named: str, files: dict[str, str]) -> None:
    """The sentence names the setting."""
    with pytest.raises(ConfigError) as raised:
        config(environment, files)

    assert named in str(raised.value)
