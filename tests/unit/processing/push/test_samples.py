"""zenwatch/processing/push/intake.py: a record keeps its last samples, whether or not the process still remembers them."""

from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.push import an_alert, pushing
from zenwatch.errors import Transient
from zenwatch.processing.push.attempts import RECORDS_REMEMBERED

LAST_FIVE = [f"{second:02}: a shell" for second in range(3, 8)]


async def test_the_last_five_samples_outlive_the_memory_of_their_record() -> None:
    """More records were written meanwhile than are remembered: the record is read before it is written again."""
    async with pushing() as push:
        for second in range(6):
            await push.post(an_alert(second=second))
        for number in range(RECORDS_REMEMBERED):
            await push.post(an_alert(f"other {number}"))
        await push.post(an_alert(second=6))
        await push.post(an_alert(second=7))

    assert push.sightings()["shell"] == (8, LAST_FIVE)


async def test_the_last_five_samples_outlive_a_restart() -> None:
    """Also if there were more than five before it."""
    store = MemoryStore()
    async with pushing(store=store) as before:
        for second in range(7):
            await before.post(an_alert(second=second))
    async with pushing(store=store) as push:
        await push.post(an_alert(second=7))

    assert push.sightings()["shell"] == (8, LAST_FIVE)


async def test_the_last_five_samples_outlive_a_write_that_fails() -> None:
    """What is stored is unknown then, so it is read, and read again if that fails too."""
    async with pushing() as push:
        for second in range(7):
            await push.post(an_alert(second=second))
        push.store.fail_next(4, Transient("away"))
        push.store.fail_next(2, Transient("away"), of="read")
        await push.post(an_alert(second=7))

    assert push.sightings()["shell"] == (8, LAST_FIVE)


async def test_samples_that_come_together_after_a_restart_follow_the_stored_samples() -> None:
    """In the order of the alerts, and each once."""
    store = MemoryStore()
    async with pushing(store=store) as before:
        for second in range(5):
            await before.post(an_alert(second=second))
    async with pushing(store=store) as push:
        push.store.hold_writes()
        for second in (4, 5, 6, 7):
            assert await push.intake.offer([an_alert(second=second)], filtered=0, rejected=0)
        push.store.let_go()
        await push.settled()

    assert push.sightings()["shell"] == (9, LAST_FIVE)
