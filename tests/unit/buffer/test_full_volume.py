"""zenwatch/buffer/sqlite: a volume that is full. The sender learns what was done, and the spool recovers by itself."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from tests.support.builders.findings import an_event
from tests.support.faults.volumes import small_volume
from tests.support.pipelines.core import Core, a_core
from tests.support.pipelines.push import FALCO as FALCO_WATCHER
from tests.support.pipelines.push import Push, a_push, an_alert
from tests.support.tasks import background, until
from zenwatch.buffer.sqlite.spool import Spool, SpoolInbox
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Intent, QueuedEvent
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor

MIB = 1024**2
FALCO = Origin("local", "falco")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    with small_volume(tmp_path / "volume", size_bytes=4 * MIB) as mounted:
        yield mounted


@asynccontextmanager
async def opened(folder: Path, *, max_bytes: int = 512 * MIB) -> AsyncIterator[tuple[Spool, SpoolInbox]]:
    spool = Spool(str(folder), Supervisor(), max_bytes=max_bytes)
    async with background(spool.run):
        yield spool, spool.inbox(FALCO)
    await spool.close()


def alert(number: int, *, size: int = 8000) -> Event:
    return an_event(source="falco", key=f"{number:06}" + "x" * size)


async def filled(inbox: SpoolInbox, *, size: int = 8000, refusals: int = 4) -> list[str]:
    """Offer events, two at a time, until so many were refused. The keys of those that were accepted."""
    accepted, refused, number = list[str](), 0, 0
    while refused < refusals:
        pair = [alert(number, size=size), alert(number + 1, size=size)]
        number += 2
        taken = await asyncio.gather(*(inbox.offer([event]) for event in pair))
        accepted += [event.key for event, is_taken in zip(pair, taken, strict=True) if is_taken]
        refused += taken.count(False)
    return accepted


async def received(inbox: SpoolInbox, count: int) -> list[QueuedEvent]:
    async with asyncio.timeout(20):
        return [await inbox.receive() for _ in range(count)]


async def accepted_in_time(inbox: SpoolInbox, event: Event) -> None:
    async with asyncio.timeout(20):
        while not await inbox.offer([event]):  # noqa: ASYNC110  no event is set
            await asyncio.sleep(0.05)


def on_disk(spool: Spool) -> list[str]:
    return [orjson.loads(body)["key"] for (body,) in spool.database.connection.execute("SELECT body FROM events ORDER BY seq")]


@pytest.mark.parametrize("size", [200, 8000, 100_000])
async def test_a_volume_that_filled_recovers_by_itself(size: int, volume: Path) -> None:
    """What was accepted is on disk and nothing else is; once it is settled, events are accepted again. A restart gives nothing twice."""
    async with opened(volume) as (spool, inbox):
        with capture_logs():
            accepted = await filled(inbox, size=size)
            stored = on_disk(spool)
        queued = await received(inbox, min(len(accepted), 500))
        inbox.settle([each.message_id for each in queued])
        inbox.release([each.message_id for each in queued])
        await accepted_in_time(inbox, alert(999_999, size=size))
        remaining = len(accepted) - len(queued) + 1
        again = [await inbox.offer([alert(999_999, size=size)]) for _ in range(5)]
        wal_bytes = (volume / "spool.sqlite-wal").stat().st_size
    async with opened(volume) as (spool, inbox):
        replayed = on_disk(spool)

    assert stored == accepted
    assert len(replayed) == remaining + again.count(True)
    assert again == [True] * 5
    assert wal_bytes < MIB


async def test_a_database_at_its_limit_recovers_by_itself(tmp_path: Path) -> None:
    """Without a small volume: SQLite's own limit. Rows of a little more than half a page need nearly twice their size."""
    async with opened(tmp_path, max_bytes=MIB) as (spool, inbox):
        with capture_logs():
            accepted = await filled(inbox, size=1900, refusals=4)
        stored = on_disk(spool)
        queued = await received(inbox, len(accepted))
        await inbox.intend([an_intent(each) for each in queued])
        intents = spool.database.intents(str(FALCO))
        inbox.settle([each.message_id for each in queued])
        await accepted_in_time(inbox, alert(999_999))
        await spool.put(DeadLetter(alert(1), "422", "2026-01-01T00:00:00Z"))
    async with opened(tmp_path, max_bytes=MIB) as (spool, inbox):
        replayed = on_disk(spool)
        database_bytes = (tmp_path / "spool.sqlite").stat().st_size

    assert stored == accepted
    assert len(intents) == len(queued)
    assert replayed == [alert(999_999).key]
    assert database_bytes <= 18 * MIB


def an_intent(queued: QueuedEvent) -> Intent:
    return Intent(queued.event, "hash", 1, 1, True, (queued.message_id,))  # noqa: FBT003


async def test_a_volume_that_others_fill_loses_no_knowledge_of_what_is_settled(volume: Path) -> None:
    """Not one byte is free: events are refused, and what is settled is written with the reserve. With space again, events are accepted."""
    neighbour = volume.parent / "volume" / "of-others"
    async with opened(volume) as (_, inbox):
        for number in range(60):
            assert await inbox.offer([alert(number)])
        queued = await received(inbox, 60)
        with capture_logs() as logged:
            fill_up(neighbour)
            refused = [await inbox.offer([alert(100)]) for _ in range(3)]
            was_full = inbox.fill.is_full
            inbox.settle([each.message_id for each in queued[:50]])
            await inbox.intend([an_intent(each) for each in queued[50:]])
    with capture_logs():
        fill_up(neighbour)
        async with opened(volume) as (_, inbox):
            replayed = await received(inbox, 10)
            neighbour.unlink()
            async with asyncio.timeout(20):
                while inbox.fill.is_full:  # noqa: ASYNC110  no event is set
                    await asyncio.sleep(0.05)
            await accepted_in_time(inbox, alert(101))
            reserve_bytes = (volume / "reserve").stat().st_size

    assert (refused, was_full) == ([False] * 3, True)
    assert [each.event for each in replayed] == [alert(number) for number in range(50, 60)]
    assert [each.intent for each in replayed] == [an_intent(each) for each in queued[50:]]
    assert [line["error"] for line in logged if line["event"] == "spool_not_written"] == ["the volume is full"]
    assert reserve_bytes >= MIB // 4


def fill_up(neighbour: Path) -> None:
    with neighbour.open("ab", buffering=0) as file:
        size = 65_536
        while size:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2


async def test_every_sighting_is_counted_once_over_a_full_volume_and_a_restart(volume: Path) -> None:
    """The API server is away until alerts are refused; then it is back. What was accepted is counted, what was refused is not."""
    earlier, accepted = a_core(), Counter[str]()
    async with life_of(volume, earlier) as push:
        push.store.hold_writes()
        refused = 0
        with capture_logs():
            while refused < 5:
                key = f"rule-{(accepted.total() + refused) % 7}"
                findings = [an_alert(key, sample="x" * 4000)] * 2
                if await push.intake.offer(findings, filtered=0, rejected=0):
                    accepted[key] += 2
                else:
                    refused += 1
            push.store.let_go()
            await push.settled()
        await push.processor.stop()
    async with life_of(volume, a_core(store=earlier.store)) as push:
        assert await push.intake.offer([an_alert("last")], filtered=0, rejected=0)
        await push.settled()
        counts = {key: count for key, (count, _) in push.sightings().items()}

    assert accepted.total() > 100
    assert counts == {**accepted, "last": 1}


@asynccontextmanager
async def life_of(folder: Path, core: Core) -> AsyncIterator[Push]:
    """A process with a spool: it stops in order."""
    spool = Spool(str(folder), core.supervisor, max_bytes=512 * MIB)
    await spool.start()
    push = a_push(FALCO_WATCHER, core, spool.inbox(FALCO))
    await core.mirror.start()
    await core.writer.start()
    await core.mirror.wait_until_synced()
    await push.processor.start()
    yield push
    await push.processor.stop()
    await spool.close()
    await core.supervisor.stop()


async def test_a_sender_that_hangs_up_costs_no_capacity(volume: Path) -> None:
    """Refused or accepted: the spool counts what is on disk."""
    async with opened(volume) as (spool, inbox):
        with capture_logs():
            fill_up(volume / "of-others")
            for number in range(20):
                with suppress(TimeoutError):
                    async with asyncio.timeout(0):
                        await inbox.offer([alert(number, size=50_000)])
            await until(lambda: inbox.fill.is_full)
            (volume / "of-others").unlink()
            await accepted_in_time(inbox, alert(999_999))
            used_bytes = spool.fill.used
    async with opened(volume) as (spool, _):
        on_disk_bytes = spool.fill.used

    assert used_bytes == on_disk_bytes


async def test_what_is_settled_just_before_the_stop_is_not_delivered_again(tmp_path: Path) -> None:
    """The stop waits for the transaction that goes on."""
    async with opened(tmp_path) as (spool, inbox):
        await inbox.offer([alert(number) for number in range(200)])
        queued = await received(inbox, 200)
    supervisor = Supervisor()
    for start in range(0, 200, 10):
        spool = Spool(str(tmp_path), supervisor, max_bytes=512 * MIB)
        await spool.start()
        spool.settle([each.message_id for each in queued[start : start + 10]], [])
        offered = asyncio.create_task(spool.inbox(Origin("local", "other")).offer([alert(start)]))
        await asyncio.sleep(0.0003 * start / 10)
        await spool.close()
        await offered
    async with opened(tmp_path) as (spool, _):
        left = on_disk(spool)

    assert left == [alert(start).key for start in range(0, 200, 10)]
