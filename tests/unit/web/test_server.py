"""zenwatch/web/server.py and body.py: every request gets one line that says what was wrong and what was expected."""

import asyncio
import gzip
import zlib
from pathlib import Path

import pytest

from tests.support.fakes.hook import FakeHook
from tests.support.web_server import TOKEN, serving
from zenwatch.contract import HookResponse

HEAD = b"POST /falco/webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n"


async def test_a_body_reaches_the_hook_of_its_path() -> None:
    """As it was sent, with its media type."""
    falco, audit = FakeHook(), FakeHook(path="/audit/webhook")
    async with serving(falco, audit) as web:
        status, line, _ = await web.post("/audit/webhook", b'{"a": 1}')
        await web.post("/falco/webhook", b"text", Content_Type="text/plain; charset=utf-8")

    assert (status, line) == (200, "1 taken\n")
    assert audit.posted == [(b'{"a": 1}', "application/json")]
    assert falco.posted == [(b"text", "text/plain")]
    assert audit.counted == {200: 1}


async def test_the_hook_decides_when_to_come_again() -> None:
    """The API server honours Retry-After within its own attempts."""
    hook = FakeHook(answer=HookResponse(429, "full", 1))
    async with serving(hook) as web:
        status, line, headers = await web.post()

    assert (status, line, headers["Retry-After"]) == (429, "full\n", "1")


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "expected"),
    [
        ("GET", "/falco/webhook", {}, 405, "expected POST"),
        ("PUT", "/falco/webhook", {}, 405, "expected POST"),
        ("POST", "/metrics", {}, 405, "expected GET"),
        ("POST", "/", {}, 404, "POST /falco/webhook"),
        ("GET", "/nowhere", {}, 404, "GET /healthz"),
        ("POST", "/falco/webhook/", {}, 404, "expected"),
        ("POST", "/falco", {}, 404, "expected"),
        ("POST", "/falco/webhook", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "application/json or text/plain"),
        ("POST", "/falco/webhook", {"Content-Type": "image/png"}, 415, "image/png"),
        ("POST", "/falco/webhook", {"Content-Encoding": "br"}, 415, "gzip"),
        ("POST", "/falco/webhook", {}, 400, "empty"),
    ],
)
async def test_what_is_wrong_is_said_with_what_is_expected(
    method: str, path: str, headers: dict[str, str], status: int, expected: str
) -> None:
    """One line, and nothing reaches the hook."""
    hook = FakeHook()
    said = {"Content-Type": "application/json"} | headers
    async with serving(hook) as web:
        answered, line, answer = await web.ask(method, path, headers=said, data=b" " if status == 400 else b"{}")

    assert (answered, line.count("\n")) == (status, 1)
    assert expected in line
    assert hook.posted == []
    if status == 405:
        assert answer["Allow"] == ("POST" if path == "/falco/webhook" else "GET, HEAD")


async def test_a_body_without_a_type_is_taken_as_json() -> None:
    """Old senders and `curl -H 'Content-Type:'` name none."""
    hook = FakeHook()
    async with serving(hook) as web:
        answer = await web.raw(b"POST /falco/webhook HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")

    assert answer.startswith(b"HTTP/1.1 200")
    assert hook.posted == [(b"{}", "application/json")]


# ---------------------------------------------------------------- bounds


async def test_a_body_of_just_the_limit_is_taken_and_a_larger_one_is_not() -> None:
    """The limit is the last size that is allowed."""
    hook = FakeHook()
    async with serving(hook) as web:
        taken, _, _ = await web.post(body=b"x" * 1024)
        refused, line, _ = await web.post(body=b"x" * 1025)

    assert (taken, refused, line) == (200, 413, "the body is larger than 1024 bytes\n")
    assert len(hook.posted) == 1


async def test_a_length_beyond_the_limit_is_refused_before_a_byte_is_read() -> None:
    """Whoever announces a gigabyte need not send it."""
    async with serving() as web:
        answer = await web.raw(HEAD + b"Content-Length: 1000000000\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")


async def test_chunks_are_counted_as_they_come() -> None:
    """A body of unknown length is refused where it passes the limit, not when it ends."""
    hook = FakeHook()
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    async with serving(hook) as web:
        answer = await web.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk, chunk)
        small = await web.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 413")
    assert small.startswith(b"HTTP/1.1 200")
    assert hook.posted == [(b"x" * 512, "application/json")]


async def test_a_packed_body_is_bounded_after_unpacking() -> None:
    """A kilobyte of gzip can hold a gigabyte."""
    hook = FakeHook(max_body_bytes=64 * 1024)
    async with serving(hook) as web:
        taken, _, _ = await web.post(body=gzip.compress(b"x" * 65_536), Content_Encoding="gzip")
        refused, line, _ = await web.post(body=gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip")

    assert (taken, refused, line) == (200, 413, "the body is larger than 65536 bytes\n")
    assert hook.posted == [(b"x" * 65_536, "application/json")]


@pytest.mark.parametrize("size", [1024 * 1024 - 1, 1024 * 1024, 1024 * 1024 + 1, 3 * 1024 * 1024 + 17])
async def test_a_packed_body_is_unpacked_whole(size: int) -> None:
    """Whatever its size is, compared with the steps in which it is inflated."""
    hook = FakeHook(max_body_bytes=8 * 1024 * 1024)
    body = bytes(number * number % 251 for number in range(257)) * (size // 257 + 1)
    async with serving(hook) as web:
        status, _, _ = await web.post(body=gzip.compress(body[:size]), Content_Encoding="gzip")

    assert status == 200
    assert hook.posted[0][0] == body[:size]


async def test_two_packed_members_are_one_body() -> None:
    """RFC 1952 allows them, and `cat a.gz b.gz` makes them."""
    hook = FakeHook()
    async with serving(hook) as web:
        await web.post(body=gzip.compress(b"[1,") + gzip.compress(b"2]"), Content_Encoding="gzip")

    assert hook.posted[0][0] == b"[1,2]"


@pytest.mark.parametrize("body", [b"{}", gzip.compress(b"{}" * 100)[:-9], zlib.compress(b"{}"), gzip.compress(b"{}") + b"rest"])
async def test_a_body_that_is_not_gzip_is_bad(body: bytes) -> None:
    """Broken off, of another kind, or not packed at all."""
    hook = FakeHook()
    async with serving(hook) as web:
        status, line, _ = await web.post(body=body, Content_Encoding="gzip")

    assert (status, line.count("gzip")) == (400, 1)
    assert hook.posted == []


async def test_a_slow_body_is_given_up() -> None:
    """A byte now and then would hold its place for ever."""
    hook = FakeHook()
    async with serving(hook, environment={"WEBHOOK_TIMEOUT": "100ms"}) as web:
        answer = await web.raw(HEAD + b"Content-Length: 9\r\n\r\n", *[b"x"] * 8, pause_secs=0.05)

    assert answer.startswith(b"HTTP/1.1 408")
    assert b"WEBHOOK_TIMEOUT" in answer
    assert hook.posted == []


async def test_a_sender_who_goes_away_costs_nothing() -> None:
    """Half a body is no body, and no error of ours."""
    hook = FakeHook()
    async with serving(hook) as web:
        _, writer = await asyncio.open_connection(*web.address)
        writer.write(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        status, _, _ = await web.post()

    assert status == 200
    assert len(hook.posted) == 1
    assert [line for line in web.logged if line["log_level"] == "error"] == []


async def test_few_large_bodies_are_in_memory_at_a_time() -> None:
    """The others wait in their sockets; whoever waits too long is asked to come again. Small ones and probes need not wait."""
    hook = FakeHook(max_body_bytes=1024 * 1024)
    async with serving(hook, environment={"WEBHOOK_TIMEOUT": "400ms"}) as web:
        holding = [await asyncio.open_connection(*web.address) for _ in range(4)]
        for _, writer in holding:
            writer.write(HEAD + b"Content-Length: 100000\r\n\r\nhalf")
            await writer.drain()
        await asyncio.sleep(0.1)
        probe, _, _ = await asyncio.wait_for(web.ask("GET", "/healthz"), 1)
        small, _, _ = await asyncio.wait_for(web.post(), 1)
        large, line, headers = await web.post(body=b"x" * 100_000)
        for _, writer in holding:
            writer.close()

    assert (probe, small) == (200, 200)
    # Those who held their places were given up at about the same time.
    assert large in (200, 503), line
    assert large == 200 or headers["Retry-After"] == "1"


@pytest.mark.parametrize(
    "line", [b"\x00\x01\x02\r\n\r\n", b"POST /falco/webhook/0123456789abcdef-first HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 20_000]
)
async def test_what_is_no_http_is_answered_and_not_quoted_in_the_log(line: bytes) -> None:
    """A malformed request line may hold a token."""
    async with serving() as web:
        answer = await web.raw(line)

    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert "0123456789abcdef" not in str(web.logged)


async def test_whoever_may_post_may_ask_what_became_of_an_event(tmp_path: Path) -> None:
    """The key is a parameter of the query: keys have slashes."""
    (tmp_path / "token").write_text(TOKEN)
    async with serving(environment={"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}) as web:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        closed, _, _ = await web.ask("GET", "/explain", params={"q": "a/b c"})
        found = await web.ask("GET", "/explain", params={"q": "a/b c"}, headers=bearer)
        nothing, line, _ = await web.ask("GET", "/explain", headers=bearer)

    assert (closed, nothing) == (401, 400), line
    assert found[:2] == (200, '[{"key":"a/b c","outcome":"stored"}]')
