"""zenwatch/web/webhook/handler.py: a body reaches the hook; of large ones few are in memory at once."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from tests.support.fakes.hook import FakeHook
from tests.support.tasks import patience, until
from tests.support.web.server import WebClient, serving
from zenwatch.web.webhook.handler import LARGE_BODIES_AT_ONCE, LARGE_BODY_BYTES

LARGE = b"x" * (LARGE_BODY_BYTES + 1)
SHORT_TIMEOUT = {"WEBHOOK_TIMEOUT": "100ms"}


def a_busy_hook() -> FakeHook:
    """Each large body stays in post() until the test opens the gate."""
    return FakeHook(max_body_bytes=1024 * 1024, gate=asyncio.Event(), gated_bytes=LARGE_BODY_BYTES)


@asynccontextmanager
async def large_posts(web: WebClient, hook: FakeHook, count: int) -> AsyncIterator[list[int]]:
    """Send so many large bodies; the hook has as many as it may. At the end the gate opens, and the list has their statuses."""
    statuses: list[int] = []

    async def post() -> None:
        status, _, _ = await web.post(body=LARGE)
        statuses.append(status)

    async with patience(), asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(post(), name=f"post {number}")
        await until(lambda: hook.in_progress == min(count, LARGE_BODIES_AT_ONCE))
        yield statuses
        hook.gate.set()


# ---------------------------------------------------------------- large bodies


async def test_a_further_large_body_waits_while_small_ones_pass() -> None:
    """Probes pass too. The others wait unread in their sockets, and each gets its turn."""
    hook = a_busy_hook()
    async with serving(hook) as web, large_posts(web, hook, 3 * LARGE_BODIES_AT_ONCE) as statuses:
        small = [await web.post(body=b"x" * LARGE_BODY_BYTES) for _ in range(20)]
        probe, _, _ = await web.ask("GET", "/healthz")
        in_progress = hook.in_progress

    assert ({status for status, _, _ in small}, probe) == ({200}, 200)
    assert (in_progress, hook.most_in_progress) == (LARGE_BODIES_AT_ONCE, LARGE_BODIES_AT_ONCE)
    assert statuses == [200] * 3 * LARGE_BODIES_AT_ONCE


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (LARGE, {}),
        # Nobody knows how large these are before they are read.
        (gzip.compress(b"small"), {"Content_Encoding": "gzip"}),
        (None, {"Transfer_Encoding": "chunked"}),
    ],
)
async def test_a_large_body_that_waits_too_long_comes_again_later(body: bytes | None, headers: Mapping[str, str]) -> None:
    """The time of WEBHOOK_TIMEOUT includes the wait."""
    hook = a_busy_hook()
    async with serving(hook, environment=SHORT_TIMEOUT) as web, large_posts(web, hook, LARGE_BODIES_AT_ONCE) as statuses:
        if body is None:
            sent = {"Content-Type": "application/json"}
            status, line, received = await web.ask("POST", "/falco/webhook", data=_chunks(), headers=sent)
        else:
            status, line, received = await web.post(body=body, **headers)

    assert (status, line, received["Retry-After"]) == (503, "too many large bodies at once; send it again\n", "1")
    assert (statuses, hook.counted) == ([200] * LARGE_BODIES_AT_ONCE, {200: LARGE_BODIES_AT_ONCE, 503: 1})


async def _chunks() -> AsyncIterator[bytes]:
    yield b"small"


async def test_a_body_that_failed_leaves_its_turn_to_the_next() -> None:
    """Neither a body that is too large nor a broken one blocks the webhook for good."""
    hook = FakeHook(max_body_bytes=LARGE_BODY_BYTES + 1)
    async with serving(hook) as web:
        too_large = [await web.post(body=LARGE + b"x") for _ in range(LARGE_BODIES_AT_ONCE)]
        broken = [await web.post(body=b"no gzip", Content_Encoding="gzip") for _ in range(LARGE_BODIES_AT_ONCE)]
        status, _, _ = await web.post(body=LARGE)

    assert [answer[0] for answer in too_large + broken] == [413] * LARGE_BODIES_AT_ONCE + [400] * LARGE_BODIES_AT_ONCE
    assert status == 200


async def test_one_webhook_does_not_wait_for_another() -> None:
    """A flood of audit events must not stop Falco."""
    audit, falco = FakeHook(path="/audit/webhook", max_body_bytes=1024 * 1024), a_busy_hook()
    async with serving(falco, audit, environment=SHORT_TIMEOUT) as web, large_posts(web, falco, LARGE_BODIES_AT_ONCE):
        status, _, _ = await web.post("/audit/webhook", LARGE)

    assert status == 200
