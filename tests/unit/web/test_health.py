"""zenwatch/web/readiness.py and the pages that tell of it."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from tests.support.fakes.clock import FakeClock
from tests.support.tasks import background
from tests.support.web_server import serving
from zenwatch.errors import Transient
from zenwatch.model.queue import Fill
from zenwatch.web.readiness import ASK_AGAIN_SECS, LATE_SECS, Readiness


@dataclass
class FakeApi:
    answer: Collection[str] | Exception = ("zenagentevents", "zenagentremediations")
    asked: int = 0
    never: asyncio.Event = field(default_factory=asyncio.Event)

    async def served(self) -> Collection[str]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def a_health(clock: FakeClock, api: FakeApi, *fills: Fill) -> Readiness:
    buffers = {f"source-{place}": (lambda fill=fill: fill) for place, fill in enumerate(fills)}
    return Readiness(clock=clock, served_kinds=api.served, kind="zenagentevents", buffers=buffers)


async def test_it_is_alive_as_long_as_the_heart_beats() -> None:
    """A constant would say so of a loop that is stuck."""
    clock = FakeClock()
    health = a_health(clock, FakeApi())
    async with background(health.beat):
        for _ in range(int(LATE_SECS) + 1):
            await clock.pass_one_wait()
        await clock.until_someone_waits()
        beating = health.alive()
    clock.advance(secs=LATE_SECS)

    assert beating[0]
    assert health.alive() == (False, f"loop late: last beat {LATE_SECS:.1f} s ago\n")


@pytest.mark.parametrize(
    ("answer", "is_ready", "lines"),
    [
        (("zenagentevents",), True, ["apiserver ok", "crds ok"]),
        ((), False, ["apiserver ok", "crds fail: zenagentevents is not served; apply them with `zenwatch crds | kubectl apply -f -`"]),
        (Transient("connection refused"), False, ["apiserver fails: connection refused", "crds unknown"]),
    ],
)
async def test_it_is_ready_when_it_can_do_its_work(answer: Collection[str] | Exception, *, is_ready: bool, lines: list[str]) -> None:
    """Each part on a line of its own."""
    health = a_health(FakeClock(), FakeApi(answer), Fill(3, 100))

    assert await health.ready() == (is_ready, "".join(f"{line}\n" for line in [*lines, "buffer/source-0 ok: 3 of 100 events"]))


async def test_a_full_buffer_is_not_ready() -> None:
    """What would be refused anyway need not be sent."""
    health = a_health(FakeClock(), FakeApi(), Fill(3, 100), Fill(250, 200))

    is_ready, lines = await health.ready()

    assert not is_ready
    assert lines.splitlines()[-1] == "buffer/source-1 full: 250 of 200 events"


async def test_the_api_server_is_not_asked_at_every_probe() -> None:
    """A kubelet, a load balancer and a person may all ask at once."""
    clock, api = FakeClock(), FakeApi()
    health = a_health(clock, api)

    await asyncio.gather(*(health.ready() for _ in range(5)))
    assert api.asked == 1
    clock.advance(secs=ASK_AGAIN_SECS)
    api.answer = Transient("gone")

    assert not (await health.ready())[0]
    assert api.asked == 2


async def test_the_pages_answer_with_200_or_503() -> None:
    """Probes read the status, people the lines."""
    clock, api = FakeClock(), FakeApi()
    async with serving(health=a_health(clock, api)) as web:
        alive, _, _ = await web.ask("GET", "/healthz")
        ready, lines, _ = await web.ask("GET", "/readyz")
        clock.advance(secs=LATE_SECS)
        api.answer = ()
        late, _, _ = await web.ask("HEAD", "/healthz")
        unready, _, _ = await web.ask("GET", "/readyz")

    assert (alive, ready, lines) == (200, 200, "apiserver ok\ncrds ok\n")
    assert (late, unready) == (503, 503)


async def test_metrics_are_in_the_form_that_prometheus_asks_for() -> None:
    """OpenMetrics where it is accepted, else the text format."""
    async with serving() as web:
        status, text, headers = await web.ask("GET", "/metrics")
        _, newer, newer_headers = await web.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})

    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert "# TYPE zenwatch_findings_received_total counter" in text
    assert newer_headers["Content-Type"].startswith("application/openmetrics-text")
    assert newer.endswith("# EOF\n")
