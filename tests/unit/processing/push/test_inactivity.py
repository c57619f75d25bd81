"""zenwatch/processing/push/inactivity.py: pushed records that were not seen again."""

from dataclasses import replace

import pytest

from tests.support.builders.findings import an_event
from tests.support.fakes.clock import START, FakeClock
from tests.support.pipelines.core import a_core
from tests.support.tasks import background, until
from zenwatch.model.event import Event
from zenwatch.model.record import Status, spec_hash
from zenwatch.model.refs import Origin
from zenwatch.processing.push.inactivity import InactivityResolver

DAY_SECS = 86_400.0


class Inactivity:
    """The resolver of Falco's records over a store in memory."""

    def __init__(self) -> None:
        self.core = a_core(clock=FakeClock(skips_waits=True))
        self.store, self.clock, self.mirror = self.core.store, self.core.clock, self.core.mirror
        self.resolver = InactivityResolver(
            Origin("local", "falco"), self.mirror, self.core.writer, self.core.supervisor, resolve_after_secs=DAY_SECS, clock=self.clock
        )

    async def create(self, event: Event) -> None:
        stored, _ = await self.store.create(event, spec_hash=spec_hash(event))
        self.mirror.put(stored)

    async def resolve_after(self, *, secs: float) -> list[str]:
        """Let time pass, resolve once, and return the phases of the records."""
        self.clock.advance(secs=secs)
        async with background(self.core.writer.work):
            await self.resolver.resolve()
            await self.core.writer.drain()
            await self.core.writer.start()
            await self.core.writer.stop()
        return [record["status"]["phase"] for record in self.store.objects.values()]


@pytest.fixture
def inactivity() -> Inactivity:
    return Inactivity()


ALERT = an_event(source="falco", key="shell/web/a shell")


async def test_what_was_not_seen_for_so_long_is_resolved(inactivity: Inactivity) -> None:
    """Its lastSeen stays: retention counts from there."""
    await inactivity.create(ALERT)

    assert await inactivity.resolve_after(secs=DAY_SECS - 1) == ["Open"]
    assert await inactivity.resolve_after(secs=1) == ["Resolved"]
    [record] = inactivity.store.objects.values()
    status = record["status"]
    assert (status["reason"], status["lastSeen"], status["resolvedAt"]) == (
        "NotSeenAgain",
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    )
    assert await inactivity.resolve_after(secs=DAY_SECS) == ["Resolved"]
    assert inactivity.store.operations() == ["create", "set_status"]


async def test_a_sighting_begins_the_time_anew(inactivity: Inactivity) -> None:
    """It is the last one that counts."""
    await inactivity.create(ALERT)
    inactivity.clock.advance(secs=DAY_SECS / 2)
    stored = inactivity.store.stored(ALERT.name)
    inactivity.mirror.put(await inactivity.store.set_status(stored, Status(count=2), now=inactivity.clock.now()))

    assert await inactivity.resolve_after(secs=DAY_SECS / 2) == ["Open"]
    assert await inactivity.resolve_after(secs=DAY_SECS / 2) == ["Resolved"]


async def test_a_sighting_that_comes_at_the_same_time_wins(inactivity: Inactivity) -> None:
    """The resolution was decided on what was there before."""
    await inactivity.create(ALERT)
    await inactivity.store.set_status(inactivity.store.stored(ALERT.name), Status(count=2), now=START)

    assert await inactivity.resolve_after(secs=DAY_SECS) == ["Open"]


async def test_records_of_other_sources_are_left_alone(inactivity: Inactivity) -> None:
    """What is read is fixed, not quiet."""
    await inactivity.create(replace(ALERT, source="trivy"))

    assert await inactivity.resolve_after(secs=DAY_SECS * 9) == ["Open"]


async def test_it_keeps_looking(inactivity: Inactivity) -> None:
    """Nobody has to ask it."""
    await inactivity.create(ALERT)
    await inactivity.resolver.start()
    async with background(inactivity.mirror.follow, inactivity.core.writer.work):
        await until(lambda: inactivity.store.stored(ALERT.name).is_resolved)
    await inactivity.resolver.stop()
