"""zenwatch/runtime/supervise.py: named tasks that outlive their bugs."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.support.tasks import patience
from zenwatch.errors import BadInput, Closed, Transient
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import Supervisor, plugin_boundary

# ---------------------------------------------------------------- back-off


@pytest.mark.parametrize(("attempt", "longest_secs"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (5000, 30.0)])
def test_the_wait_doubles_up_to_its_cap(attempt: int, longest_secs: float) -> None:
    """Jittered by half, so that many who failed together do not come back together."""
    waits = {backoff_secs(attempt) for _ in range(200)}

    assert longest_secs / 2 <= min(waits) <= max(waits) <= longest_secs
    assert len(waits) > 100


def test_the_other_side_may_ask_for_longer_not_for_shorter() -> None:
    """Retry-After: 0 does not make us hammer."""
    assert backoff_secs(1, Transient("x", retry_after_secs=60)) == 60
    assert backoff_secs(1, Transient("x", retry_after_secs=0)) >= 0.25
    assert backoff_secs(1, ValueError("x")) <= 0.5


# ---------------------------------------------------------------- contained


def test_a_bug_of_a_plug_in_becomes_bad_input() -> None:
    """It costs the one report that it stumbled over; the traceback stands in the log."""
    with capture_logs() as lines, pytest.raises(BadInput, match="the watcher x failed: boom"), plugin_boundary("the watcher x"):
        raise RuntimeError("boom")

    assert [(line["event"], line["name"], line["error"]) for line in lines] == [("plugin_failed", "the watcher x", "boom")]


def test_our_own_errors_pass() -> None:
    """BadInput is not a bug, and is not logged as one."""
    with capture_logs() as lines, pytest.raises(BadInput, match=r"^unreadable$"), plugin_boundary("the watcher x"):
        raise BadInput("unreadable")

    assert lines == []


def test_a_cancellation_passes() -> None:
    """Stopping is not a failure."""
    with pytest.raises(asyncio.CancelledError), plugin_boundary("the watcher x"):
        raise asyncio.CancelledError


# ---------------------------------------------------------------- Supervisor


class Work:
    """Raises what the test lists, one per run, then returns."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.runs = 0

    async def __call__(self) -> None:
        self.runs += 1
        if self.failures:
            raise self.failures.pop(0)


async def test_work_that_returns_is_done() -> None:
    """It is not run again."""
    supervisor, work = Supervisor(), Work()
    supervisor.start("a", work)

    await supervisor.join("a")

    assert work.runs == 1


@pytest.mark.parametrize("failure", [RuntimeError("a bug"), Transient("away")], ids=["a bug", "a passing failure"])
async def test_work_that_fails_is_run_again(failure: Exception) -> None:
    """A bug in one component must not end the others; it is logged with its task, the attempt and the wait."""
    supervisor, work = Supervisor(), Work(failure)
    with capture_logs() as lines:
        supervisor.start("source/x", work)
        await supervisor.join("source/")

    assert work.runs == 2
    line = lines[-1]
    assert (line["event"], line["task"], line["error"], line["attempt"]) == ("task_restarts", "source/x", str(failure), 1)
    assert [line["event"] for line in lines[:-1]] == (["task_failed"] if isinstance(failure, RuntimeError) else [])


async def test_the_wait_grows_with_each_failure_in_a_row() -> None:
    """A task that cannot work does not keep the processor busy."""
    supervisor, work = Supervisor(), Work(Transient("1"), Transient("2"))
    with capture_logs() as lines:
        supervisor.start("a", work)
        await supervisor.join("a")

    assert [line["attempt"] for line in lines] == [1, 2]
    assert 0.2 <= lines[0]["wait_secs"] <= 0.5 <= lines[1]["wait_secs"] <= 1.0


async def test_a_closed_component_ends_its_task() -> None:
    """Closed means that the process is stopping: nothing to restart, nothing to log."""
    supervisor, work = Supervisor(), Work(Closed("no more"))
    with capture_logs() as lines:
        supervisor.start("a", work)
        await supervisor.join("a")

    assert (work.runs, lines) == (1, [])


async def test_one_task_that_fails_leaves_the_others_alone() -> None:
    """Bare task groups would take the siblings down."""
    supervisor, arrived = Supervisor(), asyncio.Event()
    supervisor.start("bad", Work(RuntimeError("a bug")))
    supervisor.start("good", arrived.wait)  # type: ignore[arg-type]

    await asyncio.sleep(0)
    arrived.set()
    await supervisor.join("good")
    await supervisor.stop()


async def test_stop_ends_the_tasks_of_a_prefix_and_waits_for_them() -> None:
    """Upstream stops first, and has cleaned up when stop() returns."""
    supervisor, ended = Supervisor(), list[str]()

    def work(name: str) -> None:
        async def run() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append(name)

        supervisor.start(name, run)

    for name in ("source/a", "source/b", "write/0"):
        work(name)
    await asyncio.sleep(0)

    await supervisor.stop("source/")
    assert sorted(ended) == ["source/a", "source/b"]

    await supervisor.stop()
    assert sorted(ended) == ["source/a", "source/b", "write/0"]


async def test_stop_does_not_wait_for_a_restart() -> None:
    """A task that sits out its back-off is ended like any other."""
    supervisor = Supervisor()
    supervisor.start("a", Work(*[Transient("away", retry_after_secs=3600)]))
    await asyncio.sleep(0)

    async with patience():
        await supervisor.stop()


async def test_a_name_is_given_once() -> None:
    """Two tasks of one name could not be distinguished in logs and metrics."""
    supervisor = Supervisor()
    supervisor.start("a", Work())

    with pytest.raises(ValueError, match="'a' runs already"):
        supervisor.start("a", Work())
    await supervisor.stop()


async def test_a_log_that_fails_ends_no_task() -> None:
    """Whatever goes wrong while a failure is logged, the work is run again, after a wait."""

    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    supervisor, work = Supervisor(), Work(UnprintableError())
    with capture_logs():
        supervisor.start("a", work)
        await supervisor.join("a")

    assert work.runs == 2


async def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    """A future that the work waits for was cancelled: the work is run again. Unasked, the task would be gone without a word."""
    supervisor, work = Supervisor(), Work(asyncio.CancelledError())
    with capture_logs() as lines:
        supervisor.start("a", work)
        await supervisor.join("a")

    assert work.runs == 2
    assert [line["event"] for line in lines] == ["task_failed", "task_restarts"]


async def test_a_task_that_ended_unasked_is_gone() -> None:
    """Not one that is done, that was stopped, or that waits to run again."""
    supervisor = Supervisor()
    supervisor.start("returned", Work())
    supervisor.start("done", Work(), may_end=True)
    supervisor.start("running", asyncio.Event().wait)  # type: ignore[arg-type]
    supervisor.start("stopped", asyncio.Event().wait)  # type: ignore[arg-type]
    supervisor.start("waiting", Work(Transient("away", retry_after_secs=3600)))
    supervisor.start("cancelled", asyncio.Event().wait)  # type: ignore[arg-type]
    await asyncio.sleep(0)

    supervisor._tasks["cancelled"].cancel()
    await supervisor.stop("stopped")
    await asyncio.sleep(0)

    assert supervisor.gone() == ["returned", "cancelled"]
    await supervisor.stop()
    assert supervisor.gone() == []
