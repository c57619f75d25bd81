"""What a found event means for its record: create it, write it again, open it again, or leave it.

In: an event, how many reports hold it, what is stored.  Out: the write, or None.
Owns: nothing.
Stops: nothing to stop.
"""

from zenwatch.model.event import Event
from zenwatch.model.record import Stored, spec_hash, status_of_sighting
from zenwatch.model.write import Upsert


def decide(event: Event, *, count: int, stored: Stored | None, report: str = "") -> Upsert | None:
    """None: what is stored says it already. report: one of those that hold it."""
    wanted = spec_hash(event)
    status = status_of_sighting(stored, count=count)
    if stored is not None and stored.spec_hash == wanted and status.matches(stored):
        return None
    return Upsert(event, wanted, status, stored, report)
