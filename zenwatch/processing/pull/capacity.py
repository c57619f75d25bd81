"""What has no space for a record of its own: choose the findings with the lowest scores, and keep one record for those of a resource."""

import asyncio
from collections.abc import Collection, Mapping

from zenwatch.contract import Capacity, Records
from zenwatch.model.event import Event
from zenwatch.model.record import Reason, Stored
from zenwatch.model.refs import Origin
from zenwatch.processing.pull.lifecycle import decide, resolution
from zenwatch.processing.pull.report_cache import ReportCache
from zenwatch.processing.pull.writes import Batch, PullRequest, PullWrites
from zenwatch.processing.rollup import ALWAYS_SCORE, Rollups, rolled_up

# Merging as many takes some 10 ms: let others have the loop in between.
NAMES_AT_A_TIME = 100


class CapacityPlan:
    """Which findings of one origin are rolled up."""

    def __init__(self, origin: Origin, cache: ReportCache, *, records: Records, capacity: Capacity) -> None:
        self._origin = origin
        self._cache = cache
        self._records = records
        self._capacity = capacity
        self._rollups = Rollups()

    def recheck(self, rollup_name: str) -> None:
        """Compare the rollup record again, if it stands for something."""
        if self._rollups.event(rollup_name) is not None:
            self._rollups.changed.add(rollup_name)

    def recheck_stored(self, rollup_name: str) -> None:
        """A stored rollup record of an earlier process: it may stand for nothing any more."""
        self._rollups.changed.add(rollup_name)

    def release(self, name: str) -> None:
        """The finding is gone, or has a record of its own."""
        self._rollups.drop(name)

    def roll_up(self, event: Event) -> str:
        """Return the name of the record that stands for the event."""
        return self._rollups.add(event)

    def next_in_line(self) -> Collection[str]:
        """The rolled-up findings that have space now: those with the highest scores."""
        return self._rollups.best(self._capacity.free_records)

    async def without_space(self, names: Collection[str]) -> Collection[str]:
        """Of these names, those that would be new and are rolled up: the lowest scores. CRITICAL scores never are."""
        free = self._capacity.free_records
        stored = await self._records.by_names(names)
        new = [name for name in names if name in self._cache and name not in stored]
        if len(new) <= free:
            return ()
        ranked = await self._ranked(new)
        stored_rollups = await self._records.by_names({rollup for _, _, rollup in ranked})
        own = _own_records(ranked, free, stored_rollups)
        return {name for score, name, _ in ranked[own:] if -score < ALWAYS_SCORE}

    async def write(self, writes: PullWrites, batch: Batch) -> None:
        """Bring the rollup records up to date."""
        self._capacity.roll_up(self._origin, len(self._rollups))
        stored = await self._records.by_names(self._rollups.changed)
        for name in list(self._rollups.changed):
            if batch.failed:
                break
            request = self._request(name, stored.get(name))
            if request is None:
                self._rollups.changed.discard(name)
            elif not writes.is_in_flight(name):
                self._rollups.changed.discard(name)
                await writes.submit(request, 0, batch)

    def _request(self, name: str, stored: Stored | None) -> PullRequest | None:
        if (event := self._rollups.event(name)) is not None:
            return decide(event, count=self._rollups.total(name), stored=stored)
        return resolution(stored, Reason.ROLLUP_ENDED) if stored is not None and not stored.is_resolved else None

    async def _ranked(self, names: Collection[str]) -> list[tuple[int, str, str]]:
        """Score (negative), name and rollup of each; the highest scores first."""
        ranked: list[tuple[int, str, str]] = []
        for index, (name, event, _) in enumerate(self._cache.merged(names)):
            ranked.append((-event.score, name, rolled_up(event).name))
            if index % NAMES_AT_A_TIME == NAMES_AT_A_TIME - 1:
                await asyncio.sleep(0)
        return sorted(ranked)


def _own_records(ranked: list[tuple[int, str, str]], free: int, stored_rollups: Mapping[str, Stored]) -> int:
    """How many of the ranked findings get a record of their own: the rollup records of the others need space too."""
    own, needed = free, 0
    while True:
        before, needed = needed, len({rollup for _, _, rollup in ranked[own:] if rollup not in stored_rollups})
        if needed == before or own + needed <= free:
            return own
        own = max(free - needed, 0)
