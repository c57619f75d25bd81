"""zenwatch/web/liveness.py: the age of the last beat."""

from prometheus_client import REGISTRY

from tests.support.fakes.clock import FakeClock
from tests.support.tasks import background, until
from tests.support.web.server import routes_of, serving
from zenwatch.runtime.supervise import Supervisor
from zenwatch.web.liveness import BEAT_SECS, LATE_SECS, Heartbeat


async def test_the_process_is_alive_as_long_as_the_loop_beats() -> None:
    """A constant answer would be good even for a loop that is stuck."""
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    async with background(heartbeat.beat):
        for _ in range(int(LATE_SECS) + 1):
            await clock.pass_one_wait()
        await clock.until_someone_waits()
        beating = await heartbeat.check()
    clock.advance(secs=LATE_SECS)

    assert beating[0]
    assert await heartbeat.check() == (False, f"loop late: last beat {LATE_SECS:.1f} s ago\n")


async def test_the_longest_delay_of_the_last_minute_is_a_metric() -> None:
    """The loop was blocked for 3 s, then ran on time; a minute later that is over."""
    clock = FakeClock()
    async with background(Heartbeat(clock).beat):
        await clock.until_someone_waits()
        clock.advance(secs=BEAT_SECS + 3.0)
        await until(lambda: len(clock.waits) == 2)
        blocked = _lag_secs()
        for _ in range(60):
            await clock.pass_one_wait()
        await until(lambda: len(clock.waits) == 62)

    assert (blocked, _lag_secs()) == (3.0, 0.0)


async def test_a_heart_that_beats_again_counts_no_pause() -> None:
    """Nobody was to beat while the process did not lead."""
    clock = FakeClock()
    heartbeat = Heartbeat(clock)
    clock.advance(secs=100 * LATE_SECS)
    async with background(heartbeat.beat):
        await clock.until_someone_waits()
        is_alive, _ = await heartbeat.check()
        await clock.pass_one_wait()
        await until(lambda: len(clock.waits) == 2)

    assert (is_alive, _lag_secs()) == (True, 0.0)


async def test_a_late_loop_answers_503() -> None:
    """Probes read the status, people the line."""
    clock = FakeClock()
    async with serving(routes=routes_of(liveness=Heartbeat(clock).check)) as web:
        alive, line, _ = await web.ask("GET", "/healthz")
        clock.advance(secs=LATE_SECS)
        late, _, _ = await web.ask("HEAD", "/healthz")

    assert (alive, line, late) == (200, "loop ok: last beat 0.0 s ago\n", 503)


def _lag_secs() -> float | None:
    return REGISTRY.get_sample_value("zenwatch_event_loop_lag_max_seconds")


async def test_a_task_that_is_gone_answers_503() -> None:
    """Its part of the work is not done any more, and only a restart brings it back."""
    supervisor = Supervisor()

    async def work() -> None:
        """Ends, although nobody stopped it."""

    async with serving(routes=routes_of(liveness=Heartbeat(FakeClock(), gone_tasks=supervisor.gone).check)) as web:
        alive, _, _ = await web.ask("GET", "/healthz")
        supervisor.start("write/0", work)
        await supervisor.join("write/0")
        gone, line, _ = await web.ask("GET", "/healthz")

    assert (alive, gone) == (200, 503)
    assert line.endswith("task write/0 gone: it ended and will not run again\n")
