"""What a tool posts: decode a body, judge each event, hand over what is taken.

In: bodies from web/server.  Out: findings to a PushIntake; an answer for the sender.
Owns: nothing between two bodies.
Stops: with the server.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from time import monotonic
from typing import Any

import structlog

from zenwatch.config.core import PushSettings
from zenwatch.contract import HookResponse, OutcomeRecorder, PushIntake
from zenwatch.errors import BadInput, first_line
from zenwatch.metrics import PUSHED_EXCLUDED, WEBHOOK_BYTES, WEBHOOK_LAST, WEBHOOK_REQUESTS, WEBHOOK_SECONDS
from zenwatch.model.finding import Finding
from zenwatch.model.write import Outcome
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.watcher import PushWatcher, SelfIdentity, Verdict
from zenwatch.sources.monitor.source import SourceMonitor

log = structlog.get_logger(component="webhook")

# How long a body may keep others from the loop between two of its events.
SLICE_SECS = 0.005
# A tenth of a millisecond for a thread is nothing beside such a body.
LARGE_BODY_BYTES = 256 * 1024
# A whole buffer is stored in less. The API server tries again ten times inside each of its five attempts.
RETRY_AFTER_SECS = 1


@dataclass
class _Read:
    """What one body says."""

    findings: list[Finding] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    # Those of which it can be said what became of them.
    left_keys: list[tuple[str, Verdict]] = field(default_factory=list)
    rejected: int = 0
    first_error: str = ""

    def __str__(self) -> str:
        return f"{len(self.findings)} taken, {self.left_out.total()} left out, {self.rejected} not understood"


class Webhook:
    """contract.Hook of one push watcher."""

    def __init__(
        self,
        watcher: PushWatcher,
        settings: PushSettings,
        self_identity: SelfIdentity,
        intake: PushIntake,
        outcome_log: OutcomeRecorder,
        *,
        monitor: SourceMonitor,
    ) -> None:
        """Raises ConfigError where the watcher's own settings cannot be used."""
        self._watcher = watcher
        self._settings = settings
        self._intake = intake
        self._outcome_log = outcome_log
        self._monitor = monitor
        self._judge: Callable[[Any], Verdict] = watcher.prepare(settings, self_identity)
        self._plugin = f"the watcher {watcher.name}"

    @property
    def path(self) -> str:
        return self._watcher.path

    @property
    def media_types(self) -> Sequence[str]:
        return self._watcher.media_types

    @property
    def max_body_bytes(self) -> int:
        return self._settings.max_body_bytes

    @property
    def token_in_path(self) -> bool:
        return self._watcher.token_in_path

    def count(self, status: int, *, sender: str = "") -> None:
        """One more request with this answer, also one that never got as far as post()."""
        if status == 200:
            self._monitor.observe_post(sender)
        WEBHOOK_REQUESTS.labels(self._watcher.name, str(status)).inc()

    async def post(self, body: bytes, media_type: str) -> HookResponse:
        began = monotonic()
        WEBHOOK_BYTES.labels(self._watcher.name).inc(len(body))
        try:
            read = await self._read(body, media_type)
        except BadInput as exc:
            return HookResponse(400, first_line(exc))
        answer = await self._hand_over(read)
        WEBHOOK_SECONDS.labels(self._watcher.name).observe(monotonic() - began)
        return answer

    async def _hand_over(self, read: _Read) -> HookResponse:
        name = self._watcher.name
        if not await self._intake.offer(read.findings, filtered=read.left_out.total(), rejected=read.rejected):
            full = f"the buffer of {name} is full"
            if self._watcher.sender_retries:
                return HookResponse(429, f"{full}: nothing of this body was taken, send it again", RETRY_AFTER_SECS)
            log.warning("events_lost", source=name, count=len(read.findings), reason="buffer_full")
            return HookResponse(503, f"{full}: {len(read.findings)} lost", RETRY_AFTER_SECS)
        for key, verdict in read.left_keys:
            below = f" It is below {self._settings.min_severity}." if verdict.finding else ""
            self._outcome_log.tell(name, key, Outcome.FILTERED, f"The rule {verdict.rule}: {verdict.why}{below}")
        for rule, events in read.left_out.items():
            PUSHED_EXCLUDED.labels(name, rule).inc(events)
        if read.rejected:
            log.warning("events_rejected", source=name, count=read.rejected, error=read.first_error)
        WEBHOOK_LAST.labels(name).set_to_current_time()
        return HookResponse(200, str(read))

    async def _read(self, body: bytes, media_type: str) -> _Read:
        read = _Read()
        began = monotonic()
        with plugin_boundary(self._plugin, tells_message=False):
            for event in await self._events(body, media_type):
                self._take(event, read)
                if monotonic() - began > SLICE_SECS:
                    await asyncio.sleep(0)
                    began = monotonic()
        return read

    async def _events(self, body: bytes, media_type: str) -> Iterable[Any]:
        events = self._watcher.decode(body, media_type)
        if "yaml" in media_type:
            # At 2 MB a second, but in small steps: other threads get their turn.
            return await asyncio.to_thread(list, events)
        if len(body) < LARGE_BODY_BYTES:
            return events
        # The first step looks through all of the body. Where that is slow it is Python, which lets other threads have their turn.
        return chain(await asyncio.to_thread(lambda: list(islice(events, 1))), events)

    def _take(self, event: Any, read: _Read) -> None:
        self._monitor.observe(event)
        try:
            with plugin_boundary(self._plugin, tells_message=False):
                verdict = self._judge(event)
        except BadInput as exc:
            # One event that cannot be understood costs the others nothing: the sender would only repeat it.
            read.rejected += 1
            read.first_error = read.first_error or first_line(exc)
            return
        if verdict.finding is None:
            read.left_out[verdict.rule] += 1
            if verdict.key:
                read.left_keys.append((verdict.key, verdict))
        elif not verdict.finding.severity.is_at_least(self._settings.min_severity):
            read.left_out["below-severity"] += 1
            read.left_keys.append((verdict.finding.key, verdict))
        else:
            read.findings.append(verdict.finding)
