"""One write at a time for each record, and a memory that is only believed once the store answered.

In: names of records that have to be written.  Out: the right to write one.
Owns: the names in flight; what is stored stands in the index.
Stops: nothing to drain; unsettled names are forgotten, so their events are tried again.
"""

from zenwatch.contract import Index
from zenwatch.model.record import Stored


class Dedup:
    def __init__(self, index: Index) -> None:
        self._index = index
        self._in_flight: set[str] = set()

    def claim(self, name: str) -> bool:
        """False: a write of this record is in flight, so try again later. True must end in settle(), or the name stays blocked."""
        if name in self._in_flight:
            return False
        self._in_flight.add(name)
        return True

    def settle(self, name: str, stored: Stored | None) -> None:
        """stored: what the store answered; None if it did not."""
        self._in_flight.discard(name)
        if stored is not None:
            self._index.put(stored)
