"""Learn how often a source sends data, to distinguish silence from a pause.

At most MOST_DAYS + MOST_SILENCES numbers are kept, in memory. After a restart the first list shows when a scanner wrote last, and the
usual pauses are learned again.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from zenwatch.contract import Clock
from zenwatch.model.timestamps import parse_rfc3339

# A scan writes its reports within minutes of each other: anything shorter is no pause. A guess.
BURST_SECS = 60.0
# Silence is this many times longer than the longest usual pause. A guess: a daily scanner may miss two scans. Lower is sooner.
FACTOR = 3.0
# So many pauses make a usual pause.
LEAST_GAPS = 3
# The longest pause of each of the last days with data: one busy day does not make nights and weekends be forgotten.
MOST_DAYS = 20
MOST_SILENCES = 3
# An object has a handful of writers.
_MOST_WRITERS = 100


class SilenceDetector:
    """at_least_secs: nothing shorter is silence, however short the usual pauses are.

    needs_usual_pause: silence may be good news, so the source is never silent before its usual pauses are known.
    last_data_at: the time of its last data; None: none is known.
    """

    def __init__(self, clock: Clock, *, at_least_secs: float, needs_usual_pause: bool = False) -> None:
        self._clock = clock
        self._at_least_secs = at_least_secs
        self._needs_usual_pause = needs_usual_pause
        self._began_at = clock.now()
        self._came_at = self._began_at
        self._days: deque[tuple[date, float]] = deque(maxlen=MOST_DAYS)
        self._silences: deque[float] = deque(maxlen=MOST_SILENCES)
        self._gaps = 0
        self.last_data_at: datetime | None = None

    def record_activity(self, at: datetime | None = None) -> None:
        """Data arrived. at: when the tool wrote it; None: now. Data older than the last data changes nothing."""
        now = self._clock.now()
        at = now if at is None else min(at if at.tzinfo else at.replace(tzinfo=UTC), now)
        if self.last_data_at is None:
            self._came_at, self.last_data_at = now, at
            return
        # The clock may have been set back.
        last_at = self.last_data_at = min(self.last_data_at, now)
        if at <= last_at:
            return
        # A list brings old reports in any order, and a time in which we did not run was no pause of the tool: only a gap both in the
        # tool's writing and in what arrived here is a pause.
        self._learn(min(at - last_at, now - self._came_at).total_seconds(), now.date())
        self._came_at, self.last_data_at = now, at

    @property
    def silent_after_secs(self) -> float | None:
        """How long the source may send nothing. None: for ever."""
        if self._needs_usual_pause and self._gaps < LEAST_GAPS:
            return None
        # One silence is an outage. A second one as long is usual for this source: a scanner that runs once a week.
        longest_twice = sorted(self._silences)[-2:-1]
        usual_secs = [*longest_twice, *(gap_secs for _, gap_secs in self._days)]
        return max(self._at_least_secs, FACTOR * max(usual_secs, default=0.0))

    def silent_since(self, *, is_installed: bool) -> datetime | None:
        """The time of its last data, or of our start if there was none. None: it is not silent, or the tool is not installed."""
        limit_secs = self.silent_after_secs
        since = self.last_data_at or self._began_at
        is_silent = is_installed and limit_secs is not None and (self._clock.now() - since).total_seconds() > limit_secs
        return since if is_silent else None

    def _learn(self, gap_secs: float, today: date) -> None:
        if gap_secs < BURST_SECS:
            return
        limit_secs = self.silent_after_secs
        self._gaps += 1
        if limit_secs is not None and gap_secs > limit_secs:
            self._silences.append(gap_secs)
        elif self._days and self._days[-1][0] == today:
            self._days[-1] = today, max(gap_secs, self._days[-1][1])
        else:
            self._days.append((today, gap_secs))


def written_at(report: Mapping[str, Any]) -> datetime | None:
    """When a Kubernetes object was last written, by any writer. None: it has no such time."""
    return max((moment for moment in map(parse_rfc3339, _times_of(report.get("metadata"))) if moment), default=None)


def _times_of(metadata: Any) -> Iterator[Any]:
    if isinstance(metadata, Mapping):
        yield metadata.get("creationTimestamp")
        writers = metadata.get("managedFields")
        for writer in islice(writers, _MOST_WRITERS) if isinstance(writers, list) else ():
            if isinstance(writer, Mapping):
                yield writer.get("time")
