"""zenwatch/cli/shared/status_client.py, against the real server and against one that speaks no HTTP."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.doctor_cluster import FixedClock
from tests.support.web.server import TOKEN, serving
from zenwatch.cli.shared.status_client import StatusClient, add_process_options
from zenwatch.doctor.process.checks import process_checks
from zenwatch.doctor.process.report import ask_process
from zenwatch.errors import ConfigError, Transient
from zenwatch.wiring.settings import Settings


def client_of(*arguments: str, **settings: str) -> StatusClient:
    parser = argparse.ArgumentParser()
    add_process_options(parser)
    return StatusClient(parser.parse_args(arguments), Settings.read(settings))


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"LISTEN": ":9000", "TLS_CERT_FILE": "tls.crt"}, "https://127.0.0.1:9000"),
        ({"LISTEN": "[::1]:9000"}, "http://[::1]:9000"),
    ],
)
def test_the_default_address_is_where_zenwatch_would_listen(settings: dict[str, str], url: str) -> None:
    """--url overrides it."""
    assert (client_of(**settings).url, client_of(**settings).is_named) == (url, False)
    named = client_of("--url", "http://zenwatch.example/", **settings)
    assert (named.url, named.is_named) == ("http://zenwatch.example", True)


def test_a_token_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """Nothing is asked without the token."""
    with pytest.raises(ConfigError, match="WEBHOOK_TOKEN_FILE"):
        client_of(WEBHOOK_TOKEN_FILE=str(tmp_path / "none"))


async def test_the_real_server_is_understood_as_it_answers(tmp_path: Path) -> None:
    """It is alive, requires a token, and has the webhook; its clock is ours. A wrong token is not accepted."""
    for name, token in (("right", TOKEN), ("wrong", f"wrong-{TOKEN}")):
        (tmp_path / name).write_text(token)
    right, wrong = ({"WEBHOOK_TOKEN_FILE": str(tmp_path / name)} for name in ("right", "wrong"))
    async with serving(environment=right) as web:
        clock = FixedClock()
        report = await ask_process(client_of("--url", web.url, **right), ["/falco/webhook", "/none"], clock)
        refused = await ask_process(client_of("--url", web.url, **wrong), [], clock)
        anonymous = await ask_process(client_of("--url", web.url), [], clock)
        shown = (await asyncio.to_thread(client_of("--url", web.url).get, "/healthz")).date

    assert (report.no_answer, report.alive.status, report.webhooks) == ("", 200, {"/falco/webhook": 405, "/none": 404})
    assert [(each.requires_token, each.accepts_token) for each in (report, refused, anonymous)] == [
        (True, True),
        (True, False),
        (True, None),
    ]
    assert {check.title for check in process_checks(report, clock)} >= {"answers", "ready", "token"}
    assert shown is not None
    assert abs(datetime.now(UTC) - shown) < timedelta(seconds=5)


async def test_a_server_that_speaks_no_http_gave_no_response() -> None:
    """The error is a sentence, not a traceback."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(Transient, match="220 mail"):
            await asyncio.to_thread(client_of("--url", f"http://127.0.0.1:{port}").get, "/healthz")
    finally:
        server.close()
        await server.wait_closed()
