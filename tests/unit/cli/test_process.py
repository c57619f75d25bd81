"""zenwatch/cli/process.py: the way from a command to the zenwatch that runs, here to its real server."""

import argparse
import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.doctor_cluster import FixedClock
from tests.support.web.server import TOKEN, serving
from zenwatch.cli.process import ProcessDoor, add_process_options
from zenwatch.doctor.process import ask, checks_of
from zenwatch.errors import ConfigError, Transient
from zenwatch.runtime.settings import Settings


def door_to(*arguments: str, **settings: str) -> ProcessDoor:
    parser = argparse.ArgumentParser()
    add_process_options(parser)
    return ProcessDoor(parser.parse_args(arguments), Settings.read(settings))


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "http://127.0.0.1:8080"),
        ({"LISTEN": ":9000", "TLS_CERT_FILE": "tls.crt"}, "https://127.0.0.1:9000"),
        ({"LISTEN": "[::1]:9000"}, "http://[::1]:9000"),
    ],
)
def test_it_is_asked_where_it_would_listen(settings: dict[str, str], url: str) -> None:
    """Unless --url says otherwise."""
    assert (door_to(**settings).url, door_to(**settings).is_named) == (url, False)
    named = door_to("--url", "http://zenwatch.example/", **settings)
    assert (named.url, named.is_named) == ("http://zenwatch.example", True)


def test_a_token_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """Before anything is asked without it."""
    with pytest.raises(ConfigError, match="WEBHOOK_TOKEN_FILE"):
        door_to(WEBHOOK_TOKEN_FILE=str(tmp_path / "none"))


async def test_the_real_server_is_understood_as_it_answers(tmp_path: Path) -> None:
    """Alive, guarded, its webhook there, its clock ours; another token than the one that it knows is not taken."""
    for name, token in (("right", TOKEN), ("wrong", f"wrong-{TOKEN}")):
        (tmp_path / name).write_text(token)
    right, wrong = ({"WEBHOOK_TOKEN_FILE": str(tmp_path / name)} for name in ("right", "wrong"))
    async with serving(environment=right) as web:
        clock = FixedClock()
        told = await ask(door_to("--url", web.url, **right), ["/falco/webhook", "/none"], clock)
        refused = await ask(door_to("--url", web.url, **wrong), [], clock)
        anonymous = await ask(door_to("--url", web.url), [], clock)
        shown = (await asyncio.to_thread(door_to("--url", web.url).get, "/healthz")).date

    assert (told.no_answer, told.alive.status, told.hooks) == ("", 200, {"/falco/webhook": 405, "/none": 404})
    assert [(each.asks_for_token, each.takes_token) for each in (told, refused, anonymous)] == [(True, True), (True, False), (True, None)]
    assert {check.title for check in checks_of(told, clock)} >= {"answers", "ready", "token"}
    assert shown is not None
    assert abs(datetime.now(UTC) - shown) < timedelta(seconds=5)


async def test_whoever_speaks_no_http_is_nobody() -> None:
    """A line that is none, a connection that is closed at once: a sentence, not a traceback."""

    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(Transient, match="220 mail"):
            await asyncio.to_thread(door_to("--url", f"http://127.0.0.1:{port}").get, "/healthz")
    finally:
        server.close()
        await server.wait_closed()
