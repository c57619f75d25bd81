"""What a found event means for its record: create it, write it again, or leave it.

In: an event, how many reports hold it, what is stored.  Out: the write, or None.
Owns: nothing.
Stops: nothing to stop.
"""

from zenwatch.model.envelope import Write
from zenwatch.model.event import Event
from zenwatch.model.record import Stored, spec_hash


def decide(event: Event, *, count: int, stored: Stored | None) -> Write | None:
    """None: what is stored says it already."""
    wanted = spec_hash(event)
    if stored is not None and stored.spec_hash == wanted and stored.count == count:
        return None
    return Write(event, wanted, count, stored)
