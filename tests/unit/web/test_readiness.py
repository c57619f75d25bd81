"""zenwatch/web/readiness.py: whether the store can take records, and the buffers have space."""

import asyncio
from dataclasses import dataclass

from tests.support.fakes.clock import FakeClock
from tests.support.web.server import routes_of, serving
from zenwatch.model.queue import Fill
from zenwatch.model.status import RefusedWrites
from zenwatch.web.readiness import KEEP_ANSWER_SECS, Readiness


@dataclass
class CheckedStore:
    is_well: bool = True
    checks: int = 0

    async def check(self) -> tuple[bool, list[str]]:
        self.checks += 1
        return self.is_well, ["apiserver ok", "crds ok" if self.is_well else "crds unknown"]


def a_readiness(store: CheckedStore, *fills: Fill, clock: FakeClock | None = None) -> Readiness:
    buffers = {f"source-{number}": (lambda fill=fill: fill) for number, fill in enumerate(fills)}
    return Readiness(clock=clock or FakeClock(), check_store=store.check, buffers=buffers)


async def test_it_is_ready_when_the_store_is_well_and_no_buffer_is_full() -> None:
    """Each part has a line of its own."""
    assert await a_readiness(CheckedStore(), Fill(3, 100)).check() == (True, "apiserver ok\ncrds ok\nbuffer/source-0 ok: 3 of 100 events\n")
    assert await a_readiness(CheckedStore(is_well=False)).check() == (False, "apiserver ok\ncrds unknown\n")


async def test_a_namespace_that_refuses_records_is_named_and_the_process_is_ready_all_the_same() -> None:
    """Others take theirs, and no other process would be better off."""
    refused = RefusedWrites("shop", "quota", "exceeded quota", "2026-01-01T10:00:00Z", 20, 0)
    readiness = Readiness(clock=FakeClock(), check_store=CheckedStore().check, buffers={}, refused=lambda: [refused])

    assert await readiness.check() == (True, "apiserver ok\ncrds ok\nwrites/shop refused (quota): 20 wait\n")


async def test_a_full_buffer_is_not_ready() -> None:
    """What would be refused need not be sent."""
    is_ready, lines = await a_readiness(CheckedStore(), Fill(3, 100), Fill(250, 200)).check()

    assert not is_ready
    assert lines.splitlines()[-1] == "buffer/source-1 full: 250 of 200 events"


async def test_probes_share_one_check_of_the_store() -> None:
    """A kubelet, a load balancer and a person may all ask at once."""
    clock, store = FakeClock(), CheckedStore()
    readiness = a_readiness(store, clock=clock)

    await asyncio.gather(*(readiness.check() for _ in range(5)))
    assert store.checks == 1
    clock.advance(secs=KEEP_ANSWER_SECS)
    store.is_well = False

    assert not (await readiness.check())[0]
    assert store.checks == 2


async def test_a_process_that_is_not_ready_answers_503() -> None:
    """Probes read the status, people the lines."""
    clock, store = FakeClock(), CheckedStore()
    async with serving(routes=routes_of(readiness=a_readiness(store, clock=clock).check)) as web:
        ready, lines, _ = await web.ask("GET", "/readyz")
        clock.advance(secs=KEEP_ANSWER_SECS)
        store.is_well = False
        unready, _, _ = await web.ask("GET", "/readyz")

    assert (ready, lines, unready) == (200, "apiserver ok\ncrds ok\n", 503)
