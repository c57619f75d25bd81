"""Run named tasks, and restart each that fails.

In: coroutines from wiring/app.py.  Out: which tasks are gone for good.
Owns: every task of the process; the only broad `except`.
Stops: stop() cancels the tasks of a name prefix and waits for them.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import structlog

from zenwatch.errors import BadInput, Closed, ZenwatchError, first_line
from zenwatch.log import OncePerMessage
from zenwatch.metrics import TASK_RESTARTS
from zenwatch.runtime.backoff import backoff_secs

log = structlog.get_logger(component="supervise")


@contextmanager
def plugin_boundary(what: str, *, tells_message: bool = True) -> Iterator[None]:
    """Around a call of a plug-in: its bug becomes BadInput, so that it costs only the report at hand.

    tells_message: False if the input may hold a secret; then only the error's type and its line of code are logged.
    """
    try:
        yield
    except ZenwatchError:
        raise
    except Exception as exc:
        if tells_message:
            log.exception("plugin_failed", name=what, error=first_line(exc))
            raise BadInput(f"{what} failed: {first_line(exc)}") from exc
        frame = traceback.extract_tb(exc.__traceback__)[-1]
        where = f"{type(exc).__name__} in {Path(frame.filename).name}:{frame.lineno}"
        log.error("plugin_failed", name=what, error=where)  # noqa: TRY400  a traceback contains the message
        raise BadInput(f"{what} failed with {type(exc).__name__}") from None


class Supervisor:
    """Callers start() tasks downstream first and stop() them upstream first."""

    # A task that ran this long was healthy: its next failure starts again with the shortest wait. A guess.
    HEALTHY_SECS = 60.0

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._may_end: set[str] = set()

    def start(self, name: str, work: Callable[[], Awaitable[None]], *, longest_wait_secs: float = 30.0, may_end: bool = False) -> None:
        """Run work under this name until it returns; after an error run it again, after a longer wait each time.

        may_end: it returns when it is done. Otherwise a task that has returned is gone.
        """
        if name in self._tasks:
            raise ValueError(f"a task named {name!r} runs already")
        if may_end:
            self._may_end.add(name)
        self._tasks[name] = asyncio.create_task(self._keep_running(name, work, longest_wait_secs), name=name)

    def run_once(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run work once, beside any number of the same name, and log what it raises. The caller keeps the task, and ends it."""
        return asyncio.create_task(self._run_once(name, work), name=name)

    async def stop(self, prefix: str = "") -> None:
        """Cancel every task whose name begins with prefix and wait until each has ended."""
        ending = [self._tasks.pop(name) for name in list(self._tasks) if name.startswith(prefix)]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def gone(self) -> list[str]:
        """The tasks that ended although nobody stopped them. Nothing starts them again but a restart of the process."""
        return [name for name, task in self._tasks.items() if task.done() and (name not in self._may_end or _has_failed(task))]

    async def join(self, prefix: str) -> None:
        """Wait until every task whose name begins with prefix has returned by itself."""
        await asyncio.gather(*(task for name, task in self._tasks.items() if name.startswith(prefix)))

    async def _run_once(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as exc:  # a bug in it must not vanish with the task
            log.exception("task_failed", task=name, error=first_line(exc))

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]], longest_wait_secs: float) -> None:
        attempt, logged = 0, OncePerMessage()
        failure: BaseException | None = None
        started = monotonic()
        while True:
            try:
                if failure is not None:
                    attempt = 1 if monotonic() - started > self.HEALTHY_SECS else attempt + 1
                    await _recover(name, failure, attempt, logged, longest_wait_secs)
                started = monotonic()
                await work()
            except Closed:
                return
            except asyncio.CancelledError as exc:
                # Of something that it waited for; nobody cancelled this task.
                if (task := asyncio.current_task()) is None or task.cancelling():
                    raise
                failure = exc
            except Exception as exc:  # a bug in one component must not end the others: log it and try again
                failure = exc
            else:
                return


async def _recover(name: str, failure: BaseException, attempt: int, logged: OncePerMessage, longest_wait_secs: float) -> None:
    """Log the failure and wait. What goes wrong with the log itself is the next failure, and is waited for as well."""
    delay = backoff_secs(attempt, failure, cap_secs=longest_wait_secs)
    TASK_RESTARTS.labels(task=name).inc()
    try:
        if not isinstance(failure, ZenwatchError):
            log.error("task_failed", task=name, error=first_line(failure), exc_info=failure)
        # A missing permission fails every attempt: one warning is enough.
        level = log.warning if logged.is_new(first_line(failure)) else log.debug
        level("task_restarts", task=name, error=first_line(failure), attempt=attempt, wait_secs=round(delay, 1))
    finally:
        await asyncio.sleep(delay)


def _has_failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None
