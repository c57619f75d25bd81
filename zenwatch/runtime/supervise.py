"""Named tasks that outlive their bugs.

In: coroutines from runtime/app.py.  Out: nothing.
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
from zenwatch.metrics import TASK_RESTARTS
from zenwatch.runtime.backoff import backoff_secs

log = structlog.get_logger(component="supervise")


@contextmanager
def plugin_boundary(what: str, *, tells_message: bool = True) -> Iterator[None]:
    """Code of a plug-in: its bug becomes BadInput, so that it costs the one report that it stumbled over.

    tells_message: False where what it stumbled over may hold a secret; then only the error's type and place are told.
    """
    try:
        yield
    except ZenwatchError:
        raise
    except Exception as exc:
        if tells_message:
            log.exception("plugin_failed", name=what, error=first_line(exc))
            raise BadInput(f"{what} failed: {first_line(exc)}") from exc
        place = traceback.extract_tb(exc.__traceback__)[-1]
        told = f"{type(exc).__name__} in {Path(place.filename).name}:{place.lineno}"
        log.error("plugin_failed", name=what, error=told)  # noqa: TRY400  a traceback tells the message
        raise BadInput(f"{what} failed with {type(exc).__name__}") from None


class Supervisor:
    """start() tasks downstream first; stop() them upstream first."""

    # A task that ran this long was healthy: its next failure starts again with the shortest wait. A guess.
    HEALTHY_SECS = 60.0

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, name: str, work: Callable[[], Awaitable[None]], *, longest_wait_secs: float = 30.0) -> None:
        """Run work under this name until it returns; after an error run it again, each time a little later."""
        if name in self._tasks:
            raise ValueError(f"a task named {name!r} runs already")
        self._tasks[name] = asyncio.create_task(self._keep_running(name, work, longest_wait_secs), name=name)

    async def stop(self, prefix: str = "") -> None:
        """Cancel every task whose name begins with prefix and wait until each has ended."""
        ending = [self._tasks.pop(name) for name in list(self._tasks) if name.startswith(prefix)]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    async def join(self, prefix: str) -> None:
        """Wait until every task whose name begins with prefix has returned by itself."""
        await asyncio.gather(*(task for name, task in self._tasks.items() if name.startswith(prefix)))

    async def _keep_running(self, name: str, work: Callable[[], Awaitable[None]], longest_wait_secs: float) -> None:
        attempt, told = 0, ""
        while True:
            started = monotonic()
            try:
                await work()
            except Closed:
                return
            except ZenwatchError as exc:
                failure: Exception = exc
            except Exception as exc:  # a bug in one room must not end the others: say so and try again
                log.exception("task_failed", task=name, error=first_line(exc))
                failure = exc
            else:
                return
            attempt = 1 if monotonic() - started > self.HEALTHY_SECS else attempt + 1
            delay = backoff_secs(attempt, failure, cap_secs=longest_wait_secs)
            TASK_RESTARTS.labels(task=name).inc()
            # The same sentence again says nothing new: a missing permission is named once.
            say = log.debug if told == first_line(failure) else log.warning
            told = first_line(failure)
            say("task_restarts", task=name, error=told, attempt=attempt, wait_secs=round(delay, 1))
            await asyncio.sleep(delay)
