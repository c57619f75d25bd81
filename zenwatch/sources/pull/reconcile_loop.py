"""Settle, at each interval, what the reports of one tool contain, and log in one line what came of it.

In: the informers of one watcher, which read in the background.  Out: settle() on the intake.
Owns: the interval.
Stops: when the task that runs run() is cancelled; the writer finishes the writes that it has queued. It can be run again.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from zenwatch.contract import Clock, Intake
from zenwatch.errors import Transient, first_line
from zenwatch.metrics import ROUND_SECONDS, ROUNDS
from zenwatch.model.refs import Origin
from zenwatch.runtime.backoff import backoff_secs

log = structlog.get_logger(component="reconcile_loop")


class Informer(Protocol):
    """What a round needs to know of a ReportInformer."""

    on_state_change: Callable[[], None]

    @property
    def has_synced(self) -> bool: ...


@dataclass(frozen=True)
class Interval:
    interval_secs: float
    timeout_secs: float


class ReconcileLoop:
    """counts: the ledger's counts of this origin, by name. detect: finds out whether the tool is installed."""

    def __init__(
        self,
        origin: Origin,
        informers: Sequence[Informer],
        intake: Intake,
        interval: Interval,
        *,
        counts: Callable[[], dict[str, int]],
        detect: Callable[[], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._origin = origin
        self._informers = informers
        self._intake = intake
        self._interval = interval
        self._counts = counts
        self._detect = detect
        self._clock = clock
        self._before = counts()
        self._due = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled."""
        for informer in self._informers:
            # The first round does not wait for the interval: it begins as soon as all kinds are listed.
            informer.on_state_change = self._due.set
        attempt = 0
        while True:
            wait_secs = self._interval.interval_secs
            try:
                async with asyncio.timeout(self._interval.timeout_secs):
                    await self._reconcile()
                attempt = 0
            except (Transient, TimeoutError) as exc:
                attempt += 1
                wait_secs = self._fail(attempt, exc)
            await self._clock.wait(self._due, timeout_secs=wait_secs)
            self._due.clear()

    def _fail(self, attempt: int, error: Transient | TimeoutError) -> float:
        """Log the failed round. Return how long to wait: longer with each failure, but no longer than the interval or Retry-After."""
        asked_secs = error.retry_after_secs if isinstance(error, Transient) else None
        wait_secs = min(backoff_secs(attempt, error, first_secs=1.0), max(self._interval.interval_secs, asked_secs or 0.0))
        sentence = first_line(error) if isinstance(error, Transient) else f"not done within {self._interval.timeout_secs:g} s"
        ROUNDS.labels(*self._origin, "failed").inc()
        log.warning(
            "round_failed",
            cluster_id=self._origin.cluster_id,
            source=self._origin.source,
            error=sentence,
            attempt=attempt,
            wait_secs=round(wait_secs, 1),
        )
        return wait_secs

    async def _reconcile(self) -> None:
        started = self._clock.monotonic_secs()
        if not all(informer.has_synced for informer in self._informers):
            # A kind that is half listed means nothing yet; on_state_change starts the next round.
            return
        await self._detect()
        await self._intake.settle()
        took = self._clock.monotonic_secs() - started
        ROUNDS.labels(*self._origin, "done").inc()
        ROUND_SECONDS.labels(*self._origin).observe(took)
        before, self._before = self._before, self._counts()
        changes = {name: count - before[name] for name, count in self._before.items() if name != "in_flight"}
        # Zeros are left out, except for the two that a person looks for.
        logged = {name: count for name, count in changes.items() if count or name in ("received", "stored")}
        log.info(
            "round_done",
            cluster_id=self._origin.cluster_id,
            source=self._origin.source,
            **logged,
            in_flight=self._before["in_flight"],
            duration_secs=round(took, 3),
        )
