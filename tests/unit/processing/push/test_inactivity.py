"""zenwatch/processing/push/inactivity.py: pushed records that were not seen again."""

from dataclasses import replace

import pytest

from tests.support.builders.findings import an_event
from tests.support.fakes.clock import START, FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import background, until
from zenwatch.model.event import Event
from zenwatch.model.record import Status, spec_hash
from zenwatch.processing.push.inactivity import InactivityResolver
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.store.writer import Writer

DAY_SECS = 86_400.0


class Room:
    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock(skips_waits=True)
        self.store.now = self.clock.now
        self.index = StoredIndex(self.store)
        self.writer = Writer(self.store, queue_writes=4, clock=self.clock)
        self.quiet = InactivityResolver("falco", resolve_after_secs=DAY_SECS, index=self.index, writer=self.writer, clock=self.clock)

    async def create(self, event: Event) -> None:
        stored, _ = await self.store.create(event, spec_hash=spec_hash(event))
        self.index.put(stored)

    async def look(self, *, secs: float) -> list[str]:
        """Let time pass, look once, and say in which phase the records are."""
        self.clock.advance(secs=secs)
        async with background(self.writer.work):
            await self.quiet.resolve()
            await self.writer._queue.join()
        return [record["status"]["phase"] for record in self.store.objects.values()]


@pytest.fixture
def room() -> Room:
    return Room()


ALERT = an_event(source="falco", key="shell/web/a shell")


async def test_what_was_not_seen_for_so_long_is_resolved_as_quiet(room: Room) -> None:
    """Its lastSeen stays: retention counts from there."""
    await room.create(ALERT)

    assert await room.look(secs=DAY_SECS - 1) == ["Open"]
    assert await room.look(secs=1) == ["Resolved"]
    [record] = room.store.objects.values()
    status = record["status"]
    assert (status["reason"], status["lastSeen"], status["resolvedAt"]) == (
        "NotSeenAgain",
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    )
    assert await room.look(secs=DAY_SECS) == ["Resolved"]
    assert room.store.operations() == ["create", "set_status"]


async def test_a_sighting_begins_the_time_anew(room: Room) -> None:
    """It is the last one that counts."""
    await room.create(ALERT)
    room.clock.advance(secs=DAY_SECS / 2)
    stored = room.store.stored(ALERT.name)
    room.index.put(await room.store.set_status(stored, Status(count=2), now=room.clock.now()))

    assert await room.look(secs=DAY_SECS / 2) == ["Open"]
    assert await room.look(secs=DAY_SECS / 2) == ["Resolved"]


async def test_a_sighting_that_comes_at_the_same_time_wins(room: Room) -> None:
    """The resolution was decided on what was there before."""
    await room.create(ALERT)
    await room.store.set_status(room.store.stored(ALERT.name), Status(count=2), now=START)

    assert await room.look(secs=DAY_SECS) == ["Open"]


async def test_records_of_other_sources_are_left_alone(room: Room) -> None:
    """What is read is fixed, not quiet."""
    await room.create(replace(ALERT, source="trivy"))

    assert await room.look(secs=DAY_SECS * 9) == ["Open"]


async def test_it_keeps_looking(room: Room) -> None:
    """Nobody has to ask it."""
    await room.create(ALERT)
    async with background(room.index.follow, room.writer.work, room.quiet.keep_looking):
        await until(lambda: room.store.stored(ALERT.name).is_resolved)
