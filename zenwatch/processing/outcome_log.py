"""How the last events of each origin ended, for `zenwatch explain`."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from cachetools import LRUCache

from zenwatch.contract import Clock
from zenwatch.model.refs import Origin
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Outcome

# For each origin: the events of one must not push out those of another. 0.4 MB each.
REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class LoggedOutcome:
    """outcome: a model.write.Outcome, or in_flight. why: a sentence. at: RFC 3339. name: of the record; empty where there is none."""

    source: str
    key: str
    name: str
    outcome: str
    why: str
    at: str


class OutcomeLog:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ended: dict[Origin, LRUCache[str, LoggedOutcome]] = {}
        self._in_flight: dict[Origin, Callable[[str], list[LoggedOutcome]]] = {}

    def record(self, origin: Origin, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        """The log keeps the last outcome of each key."""
        ended = self._ended.setdefault(origin, LRUCache(maxsize=REMEMBERED))
        ended[key] = LoggedOutcome(origin.source, key, name, outcome.value, why, format_rfc3339(self._clock.now()))

    def also_search(self, origin: Origin, find_in_flight: Callable[[str], list[LoggedOutcome]]) -> None:
        """find_in_flight(query) returns the events of the origin that are in flight."""
        self._in_flight[origin] = find_in_flight

    def find(self, query: str) -> list[dict[str, str]]:
        """query: a key or the name of a record. Events in flight come first."""
        in_flight = [logged for find in self._in_flight.values() for logged in find(query)]
        ended = [logged for log in self._ended.values() for logged in log.values() if query in (logged.key, logged.name)]
        return [asdict(logged) for logged in (*in_flight, *ended)]
