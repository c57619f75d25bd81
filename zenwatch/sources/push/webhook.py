"""Handle what a tool posts: decode a body, judge each event, and hand the findings to the intake."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from time import monotonic
from typing import Any

import structlog

from zenwatch.contract import Accounts, HookResponse, PushIntake
from zenwatch.errors import BadInput, first_line
from zenwatch.metrics import PUSHED_EXCLUDED, WEBHOOK_BYTES, WEBHOOK_LAST, WEBHOOK_REQUESTS, WEBHOOK_SECONDS
from zenwatch.model.finding import Finding
from zenwatch.model.refs import Origin
from zenwatch.model.write import Outcome
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.settings import PushSettings
from zenwatch.sdk.watcher import PushWatcher, SelfIdentity, Verdict
from zenwatch.sources.monitor.source import SourceMonitor

log = structlog.get_logger(component="webhook")

# How long the events of one body may hold the loop at a time.
SLICE_SECS = 0.005
# Decoding such a body takes so long that a thread, a tenth of a millisecond, costs nothing beside it.
LARGE_BODY_BYTES = 256 * 1024
# A whole buffer is stored in less. The API server tries ten times inside each of its five attempts.
RETRY_AFTER_SECS = 1


@dataclass
class _JudgedBody:
    """excluded: how many events each rule excluded. excluded_keys: of those that have a key, for the outcome log."""

    findings: list[Finding] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    excluded_keys: list[tuple[str, Verdict]] = field(default_factory=list)
    rejected: int = 0
    first_error: str = ""

    def __str__(self) -> str:
        return f"{len(self.findings)} taken, {self.excluded.total()} left out, {self.rejected} not understood"


class Webhook:
    """contract.Hook of one push watcher."""

    def __init__(
        self,
        origin: Origin,
        watcher: PushWatcher,
        settings: PushSettings,
        *,
        identity: SelfIdentity,
        intake: PushIntake,
        accounts: Accounts,
        monitor: SourceMonitor,
    ) -> None:
        """identity: whose own acts are excluded. ConfigError: the watcher's own settings cannot be used."""
        self._origin = origin
        self._watcher = watcher
        self._settings = settings
        self._intake = intake
        self._accounts = accounts
        self._monitor = monitor
        self._judge: Callable[[Any], Verdict] = watcher.prepare(settings, identity)
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
        """Also called for requests that never reached post()."""
        if status == 200:
            self._monitor.observe_post(sender)
        WEBHOOK_REQUESTS.labels(*self._origin, str(status)).inc()

    async def post(self, body: bytes, media_type: str) -> HookResponse:
        began = monotonic()
        WEBHOOK_BYTES.labels(*self._origin).inc(len(body))
        try:
            judged = await self._judge_body(body, media_type)
        except BadInput as exc:
            return HookResponse(400, first_line(exc))
        answer = await self._hand_over(judged)
        WEBHOOK_SECONDS.labels(*self._origin).observe(monotonic() - began)
        return answer

    async def _hand_over(self, judged: _JudgedBody) -> HookResponse:
        name = self._watcher.name
        if not await self._intake.offer(judged.findings, filtered=judged.excluded.total(), rejected=judged.rejected):
            full = f"the buffer of {name} is full"
            if self._watcher.sender_retries:
                return HookResponse(429, f"{full}: nothing of this body was taken, send it again", RETRY_AFTER_SECS)
            log.warning("events_lost", source=name, count=len(judged.findings), reason="buffer_full")
            return HookResponse(503, f"{full}: {len(judged.findings)} lost", RETRY_AFTER_SECS)
        for key, verdict in judged.excluded_keys:
            below = f" It is below {self._settings.min_severity}." if verdict.finding else ""
            self._accounts.record_outcome(self._origin, key, Outcome.FILTERED, f"The rule {verdict.rule}: {verdict.why}{below}")
        for rule, events in judged.excluded.items():
            PUSHED_EXCLUDED.labels(*self._origin, rule).inc(events)
        if judged.rejected:
            log.warning("events_rejected", source=name, count=judged.rejected, error=judged.first_error)
        WEBHOOK_LAST.labels(*self._origin).set_to_current_time()
        return HookResponse(200, str(judged))

    async def _judge_body(self, body: bytes, media_type: str) -> _JudgedBody:
        judged = _JudgedBody()
        began = monotonic()
        with plugin_boundary(self._plugin, tells_message=False):
            for event in await self._events(body, media_type):
                self._judge_event(event, judged)
                if monotonic() - began > SLICE_SECS:
                    await asyncio.sleep(0)
                    began = monotonic()
        return judged

    async def _events(self, body: bytes, media_type: str) -> Iterable[Any]:
        events = self._watcher.decode(body, media_type)
        if "yaml" in media_type:
            # Slow (2 MB a second), but in small steps: other threads run in between.
            return await asyncio.to_thread(list, events)
        if len(body) < LARGE_BODY_BYTES:
            return events
        # The first step scans the whole body. Where that is slow it is Python code, which lets other threads run.
        return chain(await asyncio.to_thread(lambda: list(islice(events, 1))), events)

    def _judge_event(self, event: Any, judged: _JudgedBody) -> None:
        self._monitor.observe(event)
        try:
            with plugin_boundary(self._plugin, tells_message=False):
                verdict = self._judge(event)
        except BadInput as exc:
            # An event that is not understood costs the others nothing: the sender would only repeat it.
            judged.rejected += 1
            judged.first_error = judged.first_error or first_line(exc)
            return
        if verdict.finding is None:
            judged.excluded[verdict.rule] += 1
            if verdict.key:
                judged.excluded_keys.append((verdict.key, verdict))
        elif not verdict.finding.severity.is_at_least(self._settings.min_severity):
            judged.excluded["below-severity"] += 1
            judged.excluded_keys.append((verdict.finding.key, verdict))
        else:
            judged.findings.append(verdict.finding)
