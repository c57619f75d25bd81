"""What is known of one tool by listening: when it spoke last, and whether it says what it always said.

In: what it wrote or posted, as it came.  Out: since when it is silent; which fields are missing.
Owns: its habit and the shape of what it says.
Stops: nothing to stop; both are learned anew.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zenwatch.contract import Clock
from zenwatch.model.refs import Origin
from zenwatch.sources.monitor.schema_drift import SchemaDriftDetector
from zenwatch.sources.monitor.silence import SilenceDetector, written_at


class SourceMonitor:
    """silence_secs: how long it may say nothing at least. learns_only: it is missed only once it has a habit.

    last_post_at, last_sender: of what was posted and taken.
    """

    def __init__(self, origin: Origin, clock: Clock, *, silence_secs: float, learns_only: bool = False) -> None:
        self.origin = origin
        self.silence = SilenceDetector(clock, at_least_secs=silence_secs, learns_only=learns_only)
        self.drift = SchemaDriftDetector(clock)
        self._clock = clock
        self.last_post_at: datetime | None = None
        self.last_sender = ""

    def observe(self, said: Any) -> None:
        """An object that the tool wrote, or one event that it posted."""
        if not isinstance(said, Mapping):
            return
        if "metadata" in said:
            self.silence.record_activity(written_at(said))
        self.drift.observe(said)

    def observe_post(self, sender: str) -> None:
        """It posted, and what it posted was taken."""
        self.last_post_at, self.last_sender = self._clock.now(), sender
        self.silence.record_activity()
