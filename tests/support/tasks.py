"""Run tasks beside a test, and wait for what they do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any


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


async def until(is_so: Callable[[], bool], *, patience_secs: float = 2.0) -> None:
    """Let the loop run until is_so. For state that only other tasks change, turn by turn, with no time passing in between."""
    async with asyncio.timeout(patience_secs):
        while not is_so():  # noqa: ASYNC110  state that sets no event; each turn gives the loop away
            await asyncio.sleep(0)
