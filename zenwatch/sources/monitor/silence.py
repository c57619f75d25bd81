"""Learn how often a source speaks, to tell silence from a pause.

In: when data came, and when the tool wrote it.  Out: since when the source is silent, if it is.
Owns: at most MOST_DAYS + MOST_SILENCES numbers.
Stops: nothing to stop; after a restart the first list tells when a scanner spoke last, and the habit is learned again.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any

from zenwatch.contract import Clock
from zenwatch.model.timestamps import parse_rfc3339

# A scan writes its reports within minutes of each other: a pause of less is no pause. A guess.
BURST_SECS = 60.0
# So much longer than its longest pause is silence. A guess: a daily scanner may miss two scans. Lower it where that is too late.
FACTOR = 3.0
# A habit is what was seen so often.
LEAST_GAPS = 3
# The longest pause of each of so many days on which it spoke: nights and weekends are not forgotten for a busy day.
MOST_DAYS = 20
MOST_SILENCES = 3
# An object has a handful of writers.
_MOST_WRITERS = 100


class SilenceDetector:
    """at_least_secs: nothing shorter is silence, whatever the habit.

    learns_only: saying nothing is good news, so before there is a habit the source is never silent.
    last_data_at: when it spoke last, as far as is known.
    """

    def __init__(self, clock: Clock, *, at_least_secs: float, learns_only: bool = False) -> None:
        self._clock = clock
        self._at_least_secs = at_least_secs
        self._learns_only = learns_only
        self._began_at = clock.now()
        self._came_at = self._began_at
        self._days: deque[tuple[date, float]] = deque(maxlen=MOST_DAYS)
        self._silences: deque[float] = deque(maxlen=MOST_SILENCES)
        self._gaps = 0
        self.last_data_at: datetime | None = None

    def record_activity(self, at: datetime | None = None) -> None:
        """Data came. at: when the tool wrote it, None: now. What is older than what is known changes nothing."""
        now = self._clock.now()
        at = now if at is None else min(at if at.tzinfo else at.replace(tzinfo=UTC), now)
        if self.last_data_at is None:
            self._came_at, self.last_data_at = now, at
            return
        # The clock may have been set back.
        last_at = self.last_data_at = min(self.last_data_at, now)
        if at <= last_at:
            return
        # A list tells old reports in any order, and what we did not see for a while was no pause of the tool: only what is a gap both in
        # what it wrote and in what we saw teaches something.
        self._learn(min(at - last_at, now - self._came_at).total_seconds(), now.date())
        self._came_at, self.last_data_at = now, at

    @property
    def silent_after_secs(self) -> float | None:
        """How long it may say nothing. None: as long as it likes."""
        if self._learns_only and self._gaps < LEAST_GAPS:
            return None
        # One silence is an outage and teaches nothing. A second one as long is how this source is: a scanner that runs once a week.
        longest_twice = sorted(self._silences)[-2:-1]
        usual_secs = [*longest_twice, *(gap_secs for _, gap_secs in self._days)]
        return max(self._at_least_secs, FACTOR * max(usual_secs, default=0.0))

    def silence(self, *, is_installed: bool) -> datetime | None:
        """When it spoke last, if that is too long ago; None: it is not silent. A tool that is not there owes nothing.

        If it never spoke, the time from which we listened.
        """
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
    """When a Kubernetes object was written last, by whomever. None: it does not say."""
    return max((moment for said in _times_of(report.get("metadata")) if (moment := parse_rfc3339(said))), default=None)


def _times_of(metadata: Any) -> Iterator[Any]:
    if isinstance(metadata, Mapping):
        yield metadata.get("creationTimestamp")
        writers = metadata.get("managedFields")
        for writer in islice(writers, _MOST_WRITERS) if isinstance(writers, list) else ():
            if isinstance(writer, Mapping):
                yield writer.get("time")
