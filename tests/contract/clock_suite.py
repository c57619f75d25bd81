"""What every contract.Clock promises. The subclass gives the fixture `harness`."""

import asyncio
from datetime import UTC
from typing import Protocol

from tests.support.tasks import background, until
from zenwatch.contract import Clock


class ClockHarness(Protocol):
    clock: Clock

    async def let_pass(self, *, secs: float) -> None:
        """Return once secs have passed on the clock."""
        ...


class ClockSuite:
    async def test_now_is_in_utc(self, harness: ClockHarness) -> None:
        """Times are compared and written without asking for their zone."""
        assert harness.clock.now().tzinfo is UTC

    async def test_both_times_move_together(self, harness: ClockHarness) -> None:
        """A duration is the same whether the wall clock or the monotonic one measured it."""
        now, monotonic_secs = harness.clock.now(), harness.clock.monotonic_secs()

        await harness.let_pass(secs=0.05)

        assert harness.clock.monotonic_secs() - monotonic_secs >= 0.049
        assert (harness.clock.now() - now).total_seconds() >= 0.04

    async def test_a_wait_ends_true_when_the_event_is_set(self, harness: ClockHarness) -> None:
        """It does not sit out its time."""
        event = asyncio.Event()
        answers: list[bool] = []

        async def wait() -> None:
            answers.append(await harness.clock.wait(event, timeout_secs=3600))

        async with background(wait):
            await asyncio.sleep(0)
            assert answers == []
            event.set()
            await until(lambda: bool(answers))
        assert answers == [True]

    async def test_a_wait_for_an_event_that_is_set_ends_at_once(self, harness: ClockHarness) -> None:
        """Nothing that happened before the wait is missed."""
        event = asyncio.Event()
        event.set()

        async with asyncio.timeout(1):
            assert await harness.clock.wait(event, timeout_secs=3600)

    async def test_a_wait_ends_false_when_its_time_is_over(self, harness: ClockHarness) -> None:
        """False means: the event did not come."""
        answers: list[bool] = []

        async def wait() -> None:
            answers.append(await harness.clock.wait(asyncio.Event(), timeout_secs=0.05))

        async with background(wait):
            await asyncio.sleep(0)
            await harness.let_pass(secs=0.06)
            await until(lambda: bool(answers))
        assert answers == [False]

    async def test_a_wait_can_be_cancelled(self, harness: ClockHarness) -> None:
        """A component that stops does not wait for its back-off to end."""
        waiting = asyncio.create_task(harness.clock.wait(asyncio.Event(), timeout_secs=3600))
        await asyncio.sleep(0)

        waiting.cancel()

        async with asyncio.timeout(1):
            await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
