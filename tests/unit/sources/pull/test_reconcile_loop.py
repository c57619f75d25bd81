"""zenwatch/sources/pull/reconcile_loop.py: the round."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from structlog.testing import capture_logs

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.intake import NotedIntake
from tests.support.tasks import background, until
from zenwatch.errors import Transient
from zenwatch.model.refs import Origin
from zenwatch.model.write import Outcome
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.sources.pull.reconcile_loop import Interval, ReconcileLoop

TRIVY = Origin("local", "trivy")
INTERVAL_SECS = 30.0
TIMEOUT_SECS = 60.0


def _nothing() -> None:
    """Nobody listens yet."""


class Kind:
    """reconcile_loop.Informer."""

    def __init__(self, *, has_synced: bool) -> None:
        self.on_state_change: Callable[[], None] = _nothing
        self._has_synced = has_synced

    @property
    def has_synced(self) -> bool:
        return self._has_synced

    def becomes_known(self) -> None:
        self._has_synced = True
        self.on_state_change()


@dataclass
class Turn:
    """look_goes_on: look() does not return while it is clear. look_failures: what the next calls of look() raise."""

    kinds: list[Kind]
    intake: NotedIntake
    ledger: Ledger
    clock: FakeClock
    look_failures: list[Exception] = field(default_factory=list)
    look_goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0

    async def look(self) -> None:
        self.looks += 1
        await self.look_goes_on.wait()
        if self.look_failures:
            raise self.look_failures.pop(0)


@asynccontextmanager
async def turning(
    kinds: int = 1,
    *,
    known: bool = True,
    failures: list[Exception] | None = None,
    look_failures: list[Exception] | None = None,
    look_hangs: bool = False,
    timeout_secs: float = TIMEOUT_SECS,
) -> AsyncIterator[Turn]:
    turn = Turn(
        [Kind(has_synced=known) for _ in range(kinds)], NotedIntake(), Ledger(OutcomeLog(FakeClock())), FakeClock(), look_failures or []
    )
    turn.intake.failures = failures or []
    if not look_hangs:
        turn.look_goes_on.set()
    page = partial(turn.ledger.page, TRIVY)
    beat = Interval(INTERVAL_SECS, timeout_secs=timeout_secs)
    rounds = ReconcileLoop(TRIVY, turn.kinds, turn.intake, beat, counts=page, detect=turn.look, clock=turn.clock)
    async with background(rounds.run):
        await turn.clock.until_someone_waits()
        yield turn


async def test_the_first_round_comes_as_soon_as_every_kind_has_synced() -> None:
    """Not before, since missing findings would mean nothing; and not an interval later, since somebody waits."""
    async with turning(2, known=False) as turn:
        turn.kinds[0].becomes_known()
        await until(lambda: len(turn.clock.waits) == 2)
        assert turn.intake.settled == 0

        turn.kinds[1].becomes_known()
        await until(lambda: turn.intake.settled == 1)

    assert turn.clock.monotonic_secs() == 0


async def test_a_round_comes_at_every_interval() -> None:
    """WATCH_INTERVAL."""
    async with turning() as turn:
        assert turn.intake.settled == 1
        for rounds in (2, 3):
            assert await turn.clock.pass_one_wait() == INTERVAL_SECS
            await until(lambda rounds=rounds: turn.intake.settled == rounds)  # type: ignore[misc]


async def test_a_round_that_fails_is_tried_again_sooner_then_more_and_more_slowly() -> None:
    """From one second up to the interval: never faster than before for a server in trouble, never slower than usual."""
    failures: list[Exception] = [Transient("away")] * 8
    async with turning(failures=failures) as turn:
        for rounds in range(2, 11):
            await turn.clock.pass_one_wait()
            await until(lambda rounds=rounds: turn.intake.settled == rounds)  # type: ignore[misc]
        waits = turn.clock.waits[:9]

    assert all(min(2.0**attempt, 30.0) / 2 <= wait <= 2.0**attempt for attempt, wait in enumerate(waits[:6]))
    assert max(waits) <= INTERVAL_SECS
    assert waits[8] == INTERVAL_SECS


async def test_a_store_that_asks_for_patience_gets_it() -> None:
    """Retry-After is not shortened to the interval."""
    async with turning(failures=[Transient("429", retry_after_secs=120)]) as turn:
        assert await turn.clock.pass_one_wait() == 120


async def test_a_round_says_in_one_line_what_came_of_it() -> None:
    """What is new since the round before; what is in flight as it is now."""
    with capture_logs() as lines:
        async with turning() as turn:
            turn.ledger.receive(TRIVY, 5)
            turn.ledger.settle(TRIVY, Outcome.STORED, 2)
            turn.ledger.settle(TRIVY, Outcome.FILTERED, 1)
            await turn.clock.pass_one_wait()
            await until(lambda: len(turn.clock.waits) == 2)
            turn.ledger.settle(TRIVY, Outcome.STORED, 2)
            await turn.clock.pass_one_wait()
            await until(lambda: len(turn.clock.waits) == 3)

    lines_of = ("received", "stored", "filtered", "in_flight")
    counts = [[line.get(name, 0) for name in lines_of] for line in lines if line["event"] == "round_done"]
    assert counts == [[0, 0, 0, 0], [5, 2, 1, 2], [0, 2, 0, 0]]


async def test_a_round_that_failed_says_so() -> None:
    """With the attempt and how long it waits."""
    with capture_logs() as lines:
        async with turning(failures=[Transient("3 records could not be written")]):
            pass

    [failed] = [line for line in lines if line["event"] == "round_failed"]
    assert (failed["source"], failed["error"], failed["attempt"]) == ("trivy", "3 records could not be written", 1)
    assert 0.5 <= failed["wait_secs"] <= 1.0


async def test_what_a_failed_round_wrote_is_logged_by_the_next_one() -> None:
    """No write goes unmentioned."""
    with capture_logs() as lines:
        async with turning(failures=[Transient("away")]) as turn:
            turn.ledger.receive(TRIVY, 1)
            turn.ledger.settle(TRIVY, Outcome.STORED)
            await turn.clock.pass_one_wait()
            await until(lambda: turn.intake.settled == 2)

    [done] = [line for line in lines if line["event"] == "round_done"]
    assert (done["received"], done["stored"]) == (1, 1)


# ---------------------------------------------------------------- detection and its limits


async def test_nobody_looks_for_the_tool_before_every_kind_has_synced() -> None:
    """What is not read yet would count as not there."""
    async with turning(2, known=False) as turn:
        turn.kinds[0].becomes_known()
        await until(lambda: len(turn.clock.waits) == 2)
        assert turn.looks == 0

        turn.kinds[1].becomes_known()
        await until(lambda: turn.intake.settled == 1)
        assert turn.looks == 1


async def test_a_look_that_fails_fails_the_round() -> None:
    """The server is away: nothing is written, and it is tried again as after any failure."""
    with capture_logs() as lines:
        async with turning(look_failures=[Transient("away")]) as turn:
            assert turn.intake.settled == 0

            assert 0.5 <= await turn.clock.pass_one_wait() <= 1.0
            await until(lambda: turn.intake.settled == 1)

    assert [line["error"] for line in lines if line["event"] == "round_failed"] == ["away"]


async def test_a_round_that_takes_too_long_fails_and_is_tried_again() -> None:
    """ROUND_TIMEOUT: a watcher that hangs would else be silent for ever. Each time it waits longer; one success ends that."""
    with capture_logs() as lines:
        async with turning(look_hangs=True, timeout_secs=0.01) as turn:
            first_secs = await turn.clock.pass_one_wait()
            await until(lambda: len(turn.clock.waits) == 2)
            second_secs = turn.clock.waits[-1]
            turn.look_goes_on.set()
            await turn.clock.pass_one_wait()
            await until(lambda: len(turn.clock.waits) == 3)
            turn.look_failures = [Transient("away")]
            await turn.clock.pass_one_wait()
            await until(lambda: len(turn.clock.waits) == 4)

    failed = [line for line in lines if line["event"] == "round_failed"]
    late = "not done within 0.01 s"
    assert [(line["error"], line["attempt"]) for line in failed] == [(late, 1), (late, 2), ("away", 1)]
    assert 0.5 <= first_secs <= 1.0 <= second_secs <= 2.0
    assert (turn.intake.settled, turn.clock.waits[2]) == (1, INTERVAL_SECS)
