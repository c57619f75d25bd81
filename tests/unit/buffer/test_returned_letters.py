"""contract.DeadLetters.bring_back(), in memory and on disk; and the share of a namespace in a full buffer."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.builders.findings import POD, an_event
from tests.support.tasks import background
from zenwatch.buffer.memory import MemoryDeadLetters, MemoryInbox
from zenwatch.buffer.sqlite.dead_letters import DeadLetterQueue
from zenwatch.buffer.sqlite.spool import Spool, SpoolInbox
from zenwatch.model.event import Event
from zenwatch.model.queue import DeadLetter
from zenwatch.model.refs import Origin
from zenwatch.runtime.supervise import Supervisor

FALCO = Origin("local", "falco")


def event_in(namespace: str, key: str) -> Event:
    return an_event(source="falco", key=key, resource=replace(POD, namespace=namespace))


def a_letter(key: str, *, target: str = "shop") -> DeadLetter:
    return DeadLetter(event_in("shop", key), "no records in here", "2026-01-01T10:00:00Z", target)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    spool = Spool(str(tmp_path), Supervisor(), max_bytes=1 << 20)
    async with background(spool.run):
        yield spool
    await spool.close()


def in_memory() -> tuple[MemoryDeadLetters, MemoryInbox]:
    letters = MemoryDeadLetters()
    return letters, letters.inbox(FALCO, capacity_events=10)


def on_disk(spool: Spool) -> tuple[Spool, SpoolInbox]:
    return spool, spool.inbox(FALCO)


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_letters_of_a_target_come_back_in_order_and_no_others(kind: str, spool: Spool) -> None:
    """Two at a time; what is refused for good stays, and so does what another namespace refuses."""
    letters, inbox = in_memory() if kind == "memory" else on_disk(spool)
    for letter in (a_letter("a"), a_letter("for good", target=""), a_letter("b"), a_letter("elsewhere", target="bank"), a_letter("c")):
        await letters.put(letter)
    # The spool writes its letters with the next transaction.
    await inbox.offer([event_in("shop", "new")])
    assert (await inbox.receive()).event.key == "new"

    assert await letters.bring_back("shop", 2) == 1
    assert await letters.bring_back("shop", 2) == 0
    received = [await inbox.receive() for _ in range(3)]

    assert [(queued.event.key, queued.is_new_here) for queued in received] == [("a", True), ("b", True), ("c", True)]


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_a_letter_that_comes_back_stands_for_all_its_sightings(kind: str, spool: Spool) -> None:
    """Five alerts that were to be counted together are five when they are counted at last."""
    letters, inbox = in_memory() if kind == "memory" else on_disk(spool)
    await letters.put(replace(a_letter("a"), sightings=5))
    await inbox.offer([event_in("shop", "new")])

    await letters.bring_back("shop", 1)
    received = [await inbox.receive() for _ in range(2)]

    assert [(queued.event, queued.sightings) for queued in received] == [(event_in("shop", "new"), 1), (event_in("shop", "a"), 5)]


async def test_letters_wait_for_space_in_memory() -> None:
    """They are not lost: the next call finds them."""
    letters, inbox = in_memory()
    await inbox.offer([event_in("shop", str(number)) for number in range(9)])
    for key in "abc":
        await letters.put(a_letter(key))

    assert await letters.bring_back("shop", 100) == 2
    inbox.release([1, 2, 3])
    assert await letters.bring_back("shop", 100) == 0


async def test_letters_of_an_earlier_process_come_back_at_the_start(tmp_path: Path) -> None:
    """Whether their namespaces take records now is found out by trying; what is refused for good stays where a person looks."""
    before = Spool(str(tmp_path), Supervisor(), max_bytes=1 << 20)
    async with background(before.run):
        for letter in (a_letter("a"), a_letter("for good", target="")):
            await before.put(letter)
    await before.close()

    spool = Spool(str(tmp_path), Supervisor(), max_bytes=1 << 20)
    inbox = spool.inbox(FALCO)
    async with background(spool.run):
        assert (await inbox.receive()).event.key == "a"
    await spool.close()

    assert [entry.letter.event.key for entry in DeadLetterQueue(str(tmp_path)).letters()] == ["for good"]


# ---------------------------------------------------------------- the share of a namespace


async def test_a_namespace_that_fills_the_buffer_does_not_keep_others_out() -> None:
    """Of 100, ten more of each other namespace get in, up to twice as many in all; those of the first do not."""
    inbox = MemoryInbox(FALCO, capacity_events=100)
    for number in range(100):
        assert await inbox.offer([event_in("shop", str(number))])

    assert not await inbox.offer([event_in("shop", "one more")])
    taken = {
        namespace: [await inbox.offer([event_in(namespace, f"{namespace}{number}")]) for number in range(12)].count(True)
        for namespace in (f"ns-{number}" for number in range(12))
    }

    assert list(taken.values()) == [10] * 10 + [0] * 2
    assert inbox.fill.is_full


async def test_a_body_of_several_namespaces_gets_in_only_if_all_have_a_share_left() -> None:
    """All of a body or none."""
    inbox = MemoryInbox(FALCO, capacity_events=10)
    await inbox.offer([event_in("shop", str(number)) for number in range(10)])

    assert not await inbox.offer([event_in("bank", "a"), event_in("shop", "b")])
    assert await inbox.offer([event_in("bank", "a")])
    inbox.release([11])
    assert await inbox.offer([event_in("bank", "a")])
