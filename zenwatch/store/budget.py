"""How many records fit: what keeps etcd small however much the tools report."""

from enum import StrEnum

import structlog

from zenwatch.contract import Records
from zenwatch.metrics import BUDGET_BYTES, BUDGET_RECORDS, BUDGET_USED, FINDINGS_ROLLED_UP
from zenwatch.model.refs import Origin

log = structlog.get_logger(component="budget")

# A person should know before it is full. The warning is repeated only after the use was clearly lower in between.
WARN_SHARE, CALM_SHARE = 0.8, 0.75
# One part in so many is kept free where resolved records can go.
HEADROOM_PART = 100
# The least size that is assumed for a record: its size is only known once it is stored.
RECORD_BYTES = 1500


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    FULL = "full"


class Budget:
    """Counts records, and their bytes as JSON, of all origins and phases together."""

    def __init__(self, stored: Records, *, records: int, size_bytes: int) -> None:
        self._stored = stored
        self.records_limit, self.bytes_limit = records, size_bytes
        self._rolled_up: dict[Origin, int] = {}
        self.level = Level.OK
        BUDGET_RECORDS.set(records)
        BUDGET_BYTES.set(size_bytes)

    @property
    def used_share(self) -> float:
        """1.0 and more: it is full."""
        return max(self._stored.total_records / self.records_limit, self._stored.total_bytes / self.bytes_limit)

    @property
    def free_records(self) -> int:
        """How many more records fit."""
        count = self._stored.total_records
        record_bytes = max(RECORD_BYTES, self._stored.total_bytes // count if count else 0)
        return max(0, min(self.records_limit - count, (self.bytes_limit - self._stored.total_bytes) // record_bytes))

    @property
    def rolled_up(self) -> int:
        """Findings that have no record of their own."""
        return sum(self._rolled_up.values())

    @property
    def missing(self) -> int:
        """How many records would have to go so that every finding has its own, with some headroom."""
        headroom = max(1, self.records_limit // HEADROOM_PART)
        return max(
            self.rolled_up - self.free_records, self._stored.total_records - self.records_limit + headroom, headroom - self.free_records, 0
        )

    def roll_up(self, origin: Origin, findings: int) -> None:
        """So many findings of the origin have no record of their own now."""
        self._rolled_up[origin] = findings
        FINDINGS_ROLLED_UP.labels(*origin).set(findings)

    def check(self) -> Level:
        """Log the level where it changed."""
        share = self.used_share
        BUDGET_USED.set(share)
        before, self.level = self.level, self._level_of(share)
        if self.level is not before:
            write = log.info if self.level is Level.OK else log.warning
            write("record_budget", state=self.level.value, count=self._stored.total_records, reason=self.sentence())
        return self.level

    def sentence(self) -> str:
        """How full it is, and the way out."""
        stored = self._stored
        used = f"{stored.total_records} of {self.records_limit} records, {stored.total_bytes >> 20} of {self.bytes_limit >> 20} MiB"
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
