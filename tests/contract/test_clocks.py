"""The real clock and those that tests move keep the same promises."""

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.contract.clock_suite import ClockSuite
from tests.support.fakes.clock import FakeClock, MovedClock
from zenwatch.contract import Clock
from zenwatch.runtime.clock import SystemClock


@dataclass
class RealTime:
    clock: Clock = field(default_factory=SystemClock)

    async def let_pass(self, *, secs: float) -> None:
        await asyncio.sleep(secs)


@dataclass
class TimeByHand:
    clock: FakeClock = field(default_factory=FakeClock)

    async def let_pass(self, *, secs: float) -> None:
        self.clock.advance(secs=secs)


@dataclass
class TimeMovedOn:
    clock: MovedClock = field(default_factory=MovedClock)

    async def let_pass(self, *, secs: float) -> None:
        self.clock.advance(secs=secs)


class TestMovedClock(ClockSuite):
    @pytest.fixture
    def harness(self) -> TimeMovedOn:
        return TimeMovedOn()

    async def test_it_goes_on_by_itself(self) -> None:
        """A zenwatch that runs on it does what it does in real time."""
        clock = MovedClock()
        clock.advance(secs=3600)
        async with asyncio.timeout(5):
            assert not await clock.wait(asyncio.Event(), timeout_secs=0.01)


class TestSystemClock(ClockSuite):
    @pytest.fixture
    def harness(self) -> RealTime:
        return RealTime()


class TestFakeClock(ClockSuite):
    @pytest.fixture
    def harness(self) -> TimeByHand:
        return TimeByHand()

    async def test_time_stands_still_until_it_is_moved(self) -> None:
        """What a test sees depends on its own advance() only."""
        clock = FakeClock()
        before = clock.now(), clock.monotonic_secs()

        await asyncio.sleep(0.001)

        assert (clock.now(), clock.monotonic_secs()) == before

    async def test_a_clock_that_skips_waits_tells_what_it_skipped(self) -> None:
        """Back-off can be checked without sitting it out."""
        clock = FakeClock(skips_waits=True)

        assert not await clock.wait(asyncio.Event(), timeout_secs=60)

        assert (clock.waits, clock.monotonic_secs()) == ([60], 60)
