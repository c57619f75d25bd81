"""Run tasks beside a test, wait for what they do, and end a test that would wait forever.

No test passes or fails by how fast it is: what takes PATIENCE_SECS hangs, and the test says so instead of hanging too.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

PATIENCE_SECS = 60.0


@asynccontextmanager
async def background(*works: Callable[[], Coroutine[Any, Any, Any]]) -> AsyncIterator[None]:
    """Run each as a task for as long as the block lasts; what one of them raises is raised at its end."""
    tasks = [asyncio.create_task(work()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for failure in ended:
            if isinstance(failure, Exception):
                raise failure


def patience() -> asyncio.Timeout:
    """A block that waits for what other tasks do."""
    return asyncio.timeout(PATIENCE_SECS)


async def until(is_so: Callable[[], bool]) -> None:
    """Let the loop run until is_so. For state that only other tasks change, turn by turn, with no time passing in between."""
    async with patience():
        while not is_so():  # noqa: ASYNC110  state that sets no event; each turn gives the loop away
            await asyncio.sleep(0)


@contextmanager
def must_end() -> Iterator[None]:
    """A block of plain code whose input is so large that it ends only if its time grows with the input and no faster."""

    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"still busy after {PATIENCE_SECS:.0f} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_SECS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
