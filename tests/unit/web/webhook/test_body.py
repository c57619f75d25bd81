"""zenwatch/web/webhook/body.py: a body is bounded in size, also after unpacking, and in time."""

import asyncio
import gzip
import zlib

import pytest

from tests.support.fakes.hook import FakeHook
from tests.support.web.server import serving

HEAD = b"POST /falco/webhook HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"


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
        received = await web.raw(HEAD + b"Content-Length: 1000000000\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 413")


async def test_chunks_are_counted_as_they_come() -> None:
    """A body of unknown length is refused where it passes the limit, not when it ends."""
    hook = FakeHook()
    chunk = b"200\r\n" + b"x" * 512 + b"\r\n"
    async with serving(hook) as web:
        received = await web.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, chunk, chunk)
        small = await web.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunk, b"0\r\n\r\n")

    assert received.startswith(b"HTTP/1.1 413")
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
    """A byte now and then would keep its connection forever."""
    hook = FakeHook()
    async with serving(hook, environment={"WEBHOOK_TIMEOUT": "100ms"}) as web:
        received = await web.raw(HEAD + b"Content-Length: 9\r\n\r\n", *[b"x"] * 8, pause_secs=0.05)

    assert received.startswith(b"HTTP/1.1 408")
    assert b"WEBHOOK_TIMEOUT" in received
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
