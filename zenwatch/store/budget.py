"""How many records fit: what keeps etcd small however much the tools report.

In: what is stored, from the index; how many records have no room.  Out: how many more fit; what is said of it.
Owns: the state that was told last.
Stops: nothing to stop.
"""

from enum import StrEnum

import structlog

from zenwatch.contract import Index
from zenwatch.metrics import BUDGET_BYTES, BUDGET_RECORDS, BUDGET_USED, FINDINGS_ROLLED_UP

log = structlog.get_logger(component="budget")

# Somebody should look before it is full. It is told again only after it was clearly better in between.
WARN_SHARE, CALM_SHARE = 0.8, 0.75
# One part in so many is kept free where resolved records can go.
HEADROOM_PART = 100
# What a record takes at least: its size is only known once it is stored.
RECORD_BYTES = 1500


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FULL = "full"


class Budget:
    """limits: records, and bytes of JSON, of all sources and phases together."""

    def __init__(self, index: Index, *, records: int, size_bytes: int) -> None:
        self._index = index
        self.records_limit, self.bytes_limit = records, size_bytes
        self._rolled_up: dict[str, int] = {}
        self.level = Level.OK
        BUDGET_RECORDS.set(records)
        BUDGET_BYTES.set(size_bytes)

    @property
    def used_share(self) -> float:
        """1.0 and more: it is full."""
        return max(len(self._index) / self.records_limit, self._index.size_bytes / self.bytes_limit)

    @property
    def free_records(self) -> int:
        """How many more records fit."""
        stored = len(self._index)
        each_bytes = max(RECORD_BYTES, self._index.size_bytes // stored if stored else 0)
        return max(0, min(self.records_limit - stored, (self.bytes_limit - self._index.size_bytes) // each_bytes))

    @property
    def rolled_up(self) -> int:
        """Findings that have no record of their own."""
        return sum(self._rolled_up.values())

    @property
    def missing(self) -> int:
        """How many records would have to go so that all have room, and a few that will come."""
        headroom = max(1, self.records_limit // HEADROOM_PART)
        return max(self.rolled_up - self.free_records, len(self._index) - self.records_limit + headroom, headroom - self.free_records, 0)

    def roll_up(self, source: str, findings: int) -> None:
        """So many findings of the source have no record of their own now."""
        self._rolled_up[source] = findings
        FINDINGS_ROLLED_UP.labels(source).set(findings)

    def look(self) -> Level:
        """Say so where the level changed."""
        share = self.used_share
        BUDGET_USED.set(share)
        before, self.level = self.level, self._level_of(share)
        if self.level is not before:
            level = log.info if self.level is Level.OK else log.warning
            level("record_budget", state=self.level.value, count=len(self._index), reason=self.sentence())
        return self.level

    def sentence(self) -> str:
        """How full it is, and the way out."""
        used = f"{len(self._index)} of {self.records_limit} records, {self._index.size_bytes >> 20} of {self.bytes_limit >> 20} MiB"
        if self.level is Level.OK:
            return used
        rolled = f"; {self.rolled_up} findings are rolled up" if self.rolled_up else ""
        return f"{used}{rolled}. Raise RECORD_BUDGET or RECORD_BUDGET_BYTES, raise a <TOOL>_MIN_SEVERITY, or lower EVENT_TTL"

    def _level_of(self, share: float) -> Level:
        if share >= 1.0 or self.rolled_up:
            return Level.FULL
        if share >= WARN_SHARE or (self.level is not Level.OK and share >= CALM_SHARE):
            return Level.WARNING
        return Level.OK
