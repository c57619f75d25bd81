"""Monitor one source: when it last sent data, whether its data still has every field that it always had, and what cannot be read."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from zenwatch.contract import Clock
from zenwatch.model.refs import Origin
from zenwatch.sources.monitor.rejected import RejectedReports
from zenwatch.sources.monitor.schema_drift import SchemaDriftDetector
from zenwatch.sources.monitor.silence import SilenceDetector, written_at


class SourceMonitor:
    """silence_secs: nothing shorter is silence. needs_usual_pause: the source is never silent before its usual pauses are known.

    last_post_at, last_sender: of the last accepted post.
    """

    def __init__(self, origin: Origin, clock: Clock, *, silence_secs: float, needs_usual_pause: bool = False) -> None:
        self.origin = origin
        self.silence = SilenceDetector(clock, at_least_secs=silence_secs, needs_usual_pause=needs_usual_pause)
        self.drift = SchemaDriftDetector(clock)
        self.rejected = RejectedReports()
        self._clock = clock
        self.last_post_at: datetime | None = None
        self.last_sender = ""

    def observe(self, payload: Any) -> None:
        """payload: an object that the tool wrote, or one event that it posted."""
        if not isinstance(payload, Mapping):
            return
        if "metadata" in payload:
            self.silence.record_activity(written_at(payload))
        self.drift.observe(payload)

    def observe_post(self, sender: str) -> None:
        """The tool posted from this address, and its post was accepted."""
        self.last_post_at, self.last_sender = self._clock.now(), sender
        self.silence.record_activity()
