"""Delete records that had their time, and resolved ones where others have no room.

In: what is stored, from the index; the budget.  Out: removals to the writer, a few a second.
Owns: nothing; what was not deleted is found again.
Stops: with its task.
"""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import structlog

from zenwatch.config.core import seconds_of
from zenwatch.contract import Clock, Index, RecordWriter
from zenwatch.metrics import RECORDS_DELETED
from zenwatch.model.record import Stored
from zenwatch.model.write import Delete, Envelope, WriteResult
from zenwatch.store.budget import Budget

log = structlog.get_logger(component="retention")

# Nobody waits for it: a record may stay so much longer than its time.
LOOK_EVERY_SECS = 30.0


@dataclass(frozen=True)
class Rules:
    """ttl_secs: after their last sighting resolved records, and those of the sources `pushed`, are deleted; None: never, unless they say.
    rate_per_sec: so many are deleted at most.
    """

    ttl_secs: float | None
    rate_per_sec: float
    pushed: Collection[str]


class Retention:
    def __init__(self, rules: Rules, budget: Budget, *, index: Index, writer: RecordWriter, clock: Clock) -> None:
        self._rules = rules
        self._budget = budget
        self._index = index
        self._writer = writer
        self._clock = clock
        self._never = asyncio.Event()

    async def keep_collecting(self) -> None:
        await self._index.wait_until_synced()
        while True:
            await self.collect()
            await self._clock.wait(self._never, timeout_secs=LOOK_EVERY_SECS)

    async def collect(self) -> None:
        """One look: what had its time goes; then, where there is no room, resolved records, the oldest first."""
        now = self._clock.now().timestamp()
        await self._delete("Expired", [stored for stored in self._index.all() if self._is_over(stored, now)])
        if missing := self._budget.missing:
            resolved = sorted((stored for stored in self._index.all() if stored.is_resolved), key=_age)
            await self._delete("MadeRoom", resolved[:missing])

    def _is_over(self, stored: Stored, now: float) -> bool:
        """Open findings of tools that are read stay: they are still there."""
        if not stored.is_resolved and stored.source not in self._rules.pushed:
            return False
        ttl_secs = self._rules.ttl_secs if not stored.ttl else _ttl_of(stored.ttl, self._rules.ttl_secs)
        return ttl_secs is not None and stored.last_seen + ttl_secs <= now

    async def _delete(self, reason: str, condemned: Iterable[Stored]) -> None:
        answers: list[asyncio.Future[bool]] = []
        for stored in condemned:
            if self._index.get(stored.name) != stored:
                # It changed while others were deleted.
                continue
            answers.append(asyncio.get_running_loop().create_future())
            await self._writer.submit(Envelope(Delete(stored), partial(self._receive, stored, reason, answers[-1])))
            await self._clock.wait(self._never, timeout_secs=1.0 / self._rules.rate_per_sec)
        if deleted := sum(await asyncio.gather(*answers)):
            log.info("records_deleted", reason=reason, count=deleted)

    def _receive(self, stored: Stored, reason: str, answer: asyncio.Future[bool], receipt: WriteResult) -> None:
        if receipt.outcome is not None:
            RECORDS_DELETED.labels(stored.source, reason).inc()
            self._index.drop(stored.name)
        if not answer.done():
            answer.set_result(receipt.outcome is not None)


def _age(stored: Stored) -> tuple[int, str]:
    return stored.last_seen, stored.name


@lru_cache(maxsize=1024)
def _ttl_of(said: str, otherwise: float | None) -> float | None:
    try:
        return seconds_of(said)
    except ValueError:
        log.warning("ttl_not_understood", reason=f"{said[:40]!r} is no duration such as 72h; EVENT_TTL holds")
        return otherwise
