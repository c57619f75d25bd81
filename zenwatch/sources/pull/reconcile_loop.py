"""The round: at each interval, settle what the reports of one tool say, and say in one line what came of it.

In: the Reports of one watcher, which read in the background.  Out: settle() on the intake.
Owns: the rhythm.
Stops: with its task; the writes that are in the writer's queue are finished by the writer.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from zenwatch.contract import Clock, Intake
from zenwatch.errors import Transient, first_line
from zenwatch.metrics import ROUND_SECONDS, ROUNDS
from zenwatch.runtime.backoff import backoff_secs

log = structlog.get_logger(component="poll")


class Followed(Protocol):
    """What a round needs to know of sources.objects.Reports."""

    on_read: Callable[[], None]

    @property
    def is_known(self) -> bool: ...


@dataclass(frozen=True)
class Interval:
    interval_secs: float
    timeout_secs: float


class ReconcileLoop:
    """page: the ledger's lines of this source. look: finds out whether the tool is there."""

    def __init__(
        self,
        source: str,
        reports: Sequence[Followed],
        intake: Intake,
        interval: Interval,
        *,
        page: Callable[[], dict[str, int]],
        look: Callable[[], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._source = source
        self._reports = reports
        self._intake = intake
        self._interval = interval
        self._page = page
        self._look = look
        self._clock = clock
        self._before = page()
        self._due = asyncio.Event()
        for followed in reports:
            # The first round does not wait for the interval: it begins as soon as all kinds are read.
            followed.on_read = self._due.set

    async def keep_going(self) -> None:
        attempt = 0
        while True:
            wait_secs = self._interval.interval_secs
            try:
                async with asyncio.timeout(self._interval.timeout_secs):
                    await self._once()
                attempt = 0
            except (Transient, TimeoutError) as exc:
                attempt += 1
                wait_secs = min(backoff_secs(attempt, exc, first_secs=1.0), max(wait_secs, getattr(exc, "retry_after_secs", None) or 0.0))
                error = first_line(exc) if isinstance(exc, Transient) else f"not done within {self._interval.timeout_secs:g} s"
                ROUNDS.labels(self._source, "failed").inc()
                log.warning("round_failed", source=self._source, error=error, attempt=attempt, wait_secs=round(wait_secs, 1))
            await self._clock.wait(self._due, timeout_secs=wait_secs)
            self._due.clear()

    async def _once(self) -> None:
        started = self._clock.monotonic_secs()
        if not all(followed.is_known for followed in self._reports):
            # What is half read says nothing yet; on_read calls for the next round.
            return
        await self._look()
        await self._intake.settle()
        took = self._clock.monotonic_secs() - started
        ROUNDS.labels(self._source, "done").inc()
        ROUND_SECONDS.labels(self._source).observe(took)
        before, self._before = self._before, self._page()
        counts = {line: now - before[line] for line, now in self._before.items() if line != "in_flight"}
        # What did not happen is left out, but for the three that one looks for.
        told = {line: count for line, count in counts.items() if count or line in ("received", "stored")}
        log.info("round_done", source=self._source, **told, in_flight=self._before["in_flight"], duration_secs=round(took, 3))
