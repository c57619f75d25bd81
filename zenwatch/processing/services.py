"""What the two intakes, of what is read and of what is pushed, are joined to.

In: nothing.  Out: the rooms around them, as they see them.
Owns: nothing.
Stops: nothing to stop.
"""

from typing import Protocol

from zenwatch.contract import Capacity, Clock, Index, RecordWriter
from zenwatch.metrics import Ledger
from zenwatch.processing.outcome_log import OutcomeLog


class Rooms(Protocol):
    @property
    def index(self) -> Index: ...
    @property
    def writer(self) -> RecordWriter: ...
    @property
    def ledger(self) -> Ledger: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def outcome_log(self) -> OutcomeLog: ...
    @property
    def budget(self) -> Capacity: ...
