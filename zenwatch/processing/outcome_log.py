"""What became of the last events, for whoever asks after one of them.

In: the end of an event, with why.  Out: what is remembered of a key, a record's name or an audit ID.
Owns: the last REMEMBERED fates of each source, one for each key.
Stops: nothing to stop; what is stored tells of itself.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from cachetools import LRUCache

from zenwatch.contract import Clock
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Outcome

# For each source: what one says must not push out what another one said. 0.4 MB each.
REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class LoggedOutcome:
    """outcome: a line of the ledger, or in_flight. why: a sentence. at: RFC 3339. name: of the record; empty where there is none."""

    source: str
    key: str
    name: str
    outcome: str
    why: str
    at: str


class OutcomeLog:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last: dict[str, LRUCache[str, LoggedOutcome]] = {}
        self._in_flight: list[Callable[[str], list[LoggedOutcome]]] = []

    def tell(self, source: str, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        last = self._last.setdefault(source, LRUCache(maxsize=REMEMBERED))
        last[key] = LoggedOutcome(source, key, name, outcome.value, why, format_rfc3339(self._clock.now()))

    def ask_too(self, look: Callable[[str], list[LoggedOutcome]]) -> None:
        """look(query) finds what is in flight somewhere."""
        self._in_flight.append(look)

    def find(self, query: str) -> list[dict[str, str]]:
        """query: a key or a record's name."""
        waiting = [fate for look in self._in_flight for fate in look(query)]
        ended = [fate for last in self._last.values() for fate in last.values() if query in (fate.key, fate.name)]
        return [asdict(fate) for fate in (*waiting, *ended)]
