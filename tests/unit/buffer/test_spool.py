"""zenwatch/buffer/sqlite/spool.py and dead_letters.py: every acknowledged event is on disk, in order, once, until it is settled."""

import asyncio
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from tests.support.builders.findings import an_event
from tests.support.tasks import background
from zenwatch.buffer.sqlite.dead_letters import MOST_DEAD_LETTERS, DeadLetterQueue
from zenwatch.buffer.sqlite.spool import Spool, SpoolInbox
from zenwatch.errors import BadInput, ConfigError
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter, Intent, QueuedEvent
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor

FALCO = Origin("local", "falco")
MAX_BYTES = 16 * 1024 * 1024


def events(*keys: str) -> list[Event]:
    return [an_event(source="falco", key=key) for key in keys]


@asynccontextmanager
async def opened(folder: Path, *, max_bytes: int = MAX_BYTES, window_events: int = 1000) -> AsyncIterator[tuple[Spool, SpoolInbox]]:
    spool = Spool(str(folder), Supervisor(), max_bytes=max_bytes, window_events=window_events)
    async with background(spool.run):
        yield spool, spool.inbox(FALCO)
    await spool.close()


async def received(inbox: SpoolInbox, count: int) -> list[QueuedEvent]:
    async with asyncio.timeout(10):
        return [await inbox.receive() for _ in range(count)]


def keys(queued: Sequence[QueuedEvent]) -> list[str]:
    return [queued.event.key for queued in queued]


# ---------------------------------------------------------------- over a restart


async def test_events_that_are_not_settled_are_received_again_in_order(tmp_path: Path) -> None:
    """The same events, without the settled one."""
    async with opened(tmp_path) as (_, inbox):
        assert await inbox.offer(events("a", "b"))
        assert await inbox.offer(events("c", "d"))
        queued = await received(inbox, 4)
        inbox.settle([queued[1].message_id])
    async with opened(tmp_path) as (_, again):
        replayed = await received(again, 3)

    assert [queued.event for queued in replayed] == events("a", "c", "d")
    assert [queued.is_new_here for queued in [*queued, *replayed]] == [False] * 4 + [True] * 3


async def test_new_events_come_after_the_events_of_before_the_restart(tmp_path: Path) -> None:
    """The order of the sightings of a record is kept over a restart."""
    async with opened(tmp_path) as (_, inbox):
        await inbox.offer(events("a", "b"))
    async with opened(tmp_path) as (_, again):
        await again.offer(events("c"))
        queued = await received(again, 3)

    assert keys(queued) == ["a", "b", "c"]
    assert [queued.is_new_here for queued in queued] == [True, True, False]


async def test_an_intent_is_known_again_after_a_crash(tmp_path: Path) -> None:
    """Until the events that it carries are settled."""
    async with opened(tmp_path) as (_, inbox):
        await inbox.offer(events("a", "a", "b"))
        one, two, three = await received(inbox, 3)
        intent = Intent(one.event, "hash", 7, 2, False, (one.message_id, two.message_id))  # noqa: FBT003
        await inbox.intend([intent])
        await inbox.intend([Intent(three.event, "hash", 1, 1, True, (three.message_id,))])  # noqa: FBT003
        inbox.settle([three.message_id])
    async with opened(tmp_path) as (_, again):
        replayed = await received(again, 2)
        again.settle([queued.message_id for queued in replayed])
    async with opened(tmp_path) as (spool, _):
        left = spool.database.connection.execute("SELECT count(*) FROM intents").fetchone()

    assert [queued.intent for queued in replayed] == [intent, intent]
    assert left == (0,)


KILLED = """
import asyncio, sys
from tests.support.builders.findings import an_event
from zenwatch.buffer.sqlite.spool import Spool
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor


async def main():
    spool = Spool(sys.argv[1], Supervisor(), max_bytes=1 << 30)
    inbox = spool.inbox(Origin("local", "falco"))
    running = asyncio.create_task(spool.run())
    async def send(sender):
        for number in range(100_000):
            key = f"{sender}-{number}"
            if await inbox.offer([an_event(source="falco", key=key)]):
                print(key, flush=True)
    await asyncio.gather(*(send(sender) for sender in range(8)))

asyncio.run(main())
"""


@pytest.mark.parametrize("after_secs", [0.6, 0.75, 0.9])
async def test_acknowledged_events_survive_kill_9(after_secs: float, tmp_path: Path) -> None:
    """At whatever moment: each acknowledged event is on disk, once."""
    acknowledged = tmp_path / "acknowledged"
    with acknowledged.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path / "spool")], stdout=out)  # noqa: ASYNC220
    await asyncio.sleep(after_secs)
    while not acknowledged.stat().st_size:  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    printed = acknowledged.read_text().splitlines()
    async with opened(tmp_path / "spool") as (spool, inbox):
        [(rows,)] = spool.database.connection.execute("SELECT count(*) FROM events")
        found = keys(await received(inbox, min(rows, 900)))
        stored = [orjson.loads(body)["key"] for (body,) in spool.database.connection.execute("SELECT body FROM events ORDER BY seq")]

    assert set(printed) <= set(stored)
    assert len(stored) == len(set(stored)) <= len(printed) + 8
    assert found == stored[:900]


# ---------------------------------------------------------------- bounds


async def test_memory_holds_a_window_and_the_disk_the_rest(tmp_path: Path) -> None:
    """A backlog of a hundred thousand events must not fill the memory."""
    async with opened(tmp_path, window_events=10) as (_, inbox):
        sent = [f"{number:03}" for number in range(300)]
        for start in range(0, 300, 7):
            await inbox.offer(events(*sent[start : start + 7]))
        found: list[str] = []
        most = 0
        while len(found) < 300:
            [queued] = await received(inbox, 1)
            most = max(most, len(inbox._queued))
            found.append(queued.event.key)
            inbox.release([queued.message_id])

    assert found == sent
    assert most <= 10


async def test_events_that_are_not_released_hold_back_the_next(tmp_path: Path) -> None:
    """They are in memory: the next events stay on disk until some are released."""
    async with opened(tmp_path, window_events=3) as (_, inbox):
        await inbox.offer(events("a", "b", "c", "d", "e"))
        queued = await received(inbox, 3)
        waiting = asyncio.create_task(inbox.receive())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert inbox.is_pressed
        inbox.release([queued[0].message_id])
        assert (await asyncio.wait_for(waiting, 5)).event.key == "d"


async def test_a_full_spool_refuses_and_keeps_what_it_has(tmp_path: Path) -> None:
    """Also over a restart, and also if many senders come at once."""
    size = len(orjson.dumps(events("a")[0])) + 64
    async with opened(tmp_path, max_bytes=5 * size) as (_, inbox):
        taken = await asyncio.gather(*(inbox.offer(events("a")) for _ in range(20)))
        fill = inbox.fill
    async with opened(tmp_path, max_bytes=5 * size) as (_, again):
        assert not await again.offer(events("b"))
        queued = await received(again, 5)
        again.settle([queued.message_id for queued in queued])
        async with asyncio.timeout(5):
            while not await again.offer(events("b")):  # noqa: ASYNC110  no event is set
                await asyncio.sleep(0.01)

    assert sum(taken) == 5
    assert (fill.is_full, fill.unit) == (True, "bytes")


async def test_concurrent_offers_share_a_sync(tmp_path: Path) -> None:
    """One sync for all offers that came during the previous one."""
    async with opened(tmp_path) as (spool, inbox):
        transactions = 0
        transaction = spool.database.commit

        def counted(batch: Any) -> Any:
            nonlocal transactions
            transactions += 1
            return transaction(batch)

        spool.database.commit = counted  # type: ignore[method-assign]
        await asyncio.gather(*(inbox.offer(events(str(number))) for number in range(200)))

    assert transactions < 20


# ---------------------------------------------------------------- a disk that fails


async def test_a_disk_that_is_full_refuses_and_recovers(tmp_path: Path) -> None:
    """A real limit on how large a file may become. The events on disk stay and are received; with space again, more are accepted."""
    async with opened(tmp_path) as (_, inbox):
        assert await inbox.offer(events("a"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "spool.sqlite-wal").stat().st_size + 4096, hard))
        try:
            with capture_logs() as logged:
                refused = [await inbox.offer(events("b" * 1000)) for _ in range(3)]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, before)
        taken = await inbox.offer(events("c"))
        found = keys(await received(inbox, 2))

    assert (False in refused, taken) == (True, True)
    assert found[0] == "a"
    assert [line["event"] for line in logged if line["event"] == "spool_not_written"] == ["spool_not_written"]


async def test_a_folder_serves_one_process(tmp_path: Path) -> None:
    """Two processes would store everything twice."""
    async with opened(tmp_path):
        with pytest.raises(ConfigError, match="another zenwatch uses it"):
            Spool(str(tmp_path), Supervisor(), max_bytes=MAX_BYTES)
    async with opened(tmp_path):
        """Once it has ended, the next process may use it."""


@pytest.mark.parametrize("what", ["a file", "no database"])
def test_a_folder_that_cannot_be_used_ends_the_start(what: str, tmp_path: Path) -> None:
    """The error names the setting."""
    folder = tmp_path / "spool"
    if what == "a file":
        folder.write_text("")
    else:
        folder.mkdir()
        (folder / "spool.sqlite").write_text("this is no database" * 100)

    with pytest.raises(ConfigError, match="SPOOL_DIR is"):
        Spool(str(folder), Supervisor(), max_bytes=MAX_BYTES)


async def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """Its events show what an attack looked like."""
    async with opened(tmp_path / "spool") as (_, inbox):
        await inbox.offer(events("a"))
        modes = {path.name: path.stat().st_mode & 0o077 for path in [tmp_path / "spool", *(tmp_path / "spool").iterdir()]}

    assert set(modes.values()) == {0}, modes


# ---------------------------------------------------------------- dead letters


def a_letter(key: str = "a") -> DeadLetter:
    return DeadLetter(events(key)[0], "422: spec.title is too long", "2026-01-01T00:00:00Z")


async def test_a_dead_letter_is_kept_with_its_reason(tmp_path: Path) -> None:
    """The whole event is kept: a person can read it, and retry it."""
    async with opened(tmp_path) as (spool, _):
        await spool.put(a_letter("a"))
        await spool.put(a_letter("b"))
    box = DeadLetterQueue(str(tmp_path))

    assert [(kept.id, kept.letter) for kept in box.letters()] == [(1, a_letter("a")), (2, a_letter("b"))]
    assert box.letter(2).letter == a_letter("b")


async def test_a_dead_letter_can_be_tried_again_while_zenwatch_runs(tmp_path: Path) -> None:
    """Nothing has to be restarted."""
    async with opened(tmp_path) as (spool, inbox):
        await spool.put(a_letter())
        box = DeadLetterQueue(str(tmp_path))
        while not box.letters():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await asyncio.to_thread(box.retry, 1)
        [queued] = await received(inbox, 1)
        inbox.settle([queued.message_id])

    assert (queued.event, queued.is_new_here) == (events("a")[0], True)
    assert box.letters() == []


async def test_a_dead_letter_can_be_dropped(tmp_path: Path) -> None:
    """And the error for an unknown number names it."""
    async with opened(tmp_path) as (spool, _):
        await spool.put(a_letter())
    box = DeadLetterQueue(str(tmp_path))

    assert box.drop(1).letter == a_letter()
    for call in (box.drop, box.retry, box.letter):
        with pytest.raises(BadInput, match="no dead letter 1"):
            call(1)
    with pytest.raises(ConfigError, match="SPOOL_DIR"):
        DeadLetterQueue(str(tmp_path / "nowhere"))


def test_the_oldest_dead_letters_are_dropped_for_new_ones(tmp_path: Path) -> None:
    """A source that is refused every day must not fill the disk."""
    from zenwatch.buffer.sqlite.dead_letters import SCHEMA, drop_oldest_letters, insert_letter  # noqa: PLC0415

    with sqlite3.connect(tmp_path / "spool.sqlite") as database:
        database.executescript(SCHEMA)
        for _ in range(MOST_DEAD_LETTERS + 5):
            insert_letter(database, a_letter())
        drop_oldest_letters(database, most_bytes=MAX_BYTES)
        [(count, first)] = database.execute("SELECT count(*), min(id) FROM dead_letters")
        drop_oldest_letters(database, most_bytes=10_000)
        [(few, last, size)] = database.execute("SELECT count(*), max(id), sum(length(body)) FROM dead_letters")

    assert (count, first) == (MOST_DEAD_LETTERS, 6)
    assert (last, few > 0, size <= 10_000) == (MOST_DEAD_LETTERS + 5, True, True)
