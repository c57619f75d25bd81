"""Ask a zenwatch that runs how it is.

In: a Door to it.  Out: Told, and checks of the area process.
Owns: nothing.
Stops: nothing to stop; every question has a timeout of its own.
"""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from zenwatch.contract import Clock
from zenwatch.doctor.check import Check, Level, span
from zenwatch.doctor.status import Budget, SourceStatus, Status
from zenwatch.doctor.vantage import skew_check, skew_secs
from zenwatch.errors import Transient, first_line
from zenwatch.model.queue import Fill
from zenwatch.store.budget import WARN_SHARE

AREA = "process"
# What is fuller than this will be full soon.
FULL_RATIO = 0.9
_BUFFER_LINE = re.compile(r"buffer/(\S+) \w+: (\d+) of (\d+) (\w+)")


@dataclass(frozen=True, slots=True)
class Reply:
    """date: what the clock of whoever answered showed."""

    status: int
    text: str
    date: datetime | None = None


NOT_ASKED = Reply(0, "")


class Door(Protocol):
    """Where a zenwatch is asked. is_named: a person said that it is there. has_token: one of WEBHOOK_TOKEN_FILE."""

    @property
    def url(self) -> str: ...

    @property
    def is_named(self) -> bool: ...

    @property
    def has_token(self) -> bool: ...

    def get(self, path: str, *, with_token: bool = True) -> Reply:
        """Blocks. Transient says why there was no answer at all."""
        ...


@dataclass
class Told:
    """What the process said. no_answer: why it said nothing. ahead_secs: its clock against ours.

    hooks: what GET on each webhook's path was answered with. asks_for_token, takes_token: None where that is not known.
    """

    url: str
    is_named: bool = False
    no_answer: str = ""
    alive: Reply = NOT_ASKED
    ready: Reply = NOT_ASKED
    status_reply: Reply = NOT_ASKED
    status: Status | None = None
    hooks: dict[str, int] = field(default_factory=dict)
    asks_for_token: bool | None = None
    takes_token: bool | None = None
    ahead_secs: float | None = None

    def source(self, name: str) -> SourceStatus | None:
        return self.status.sources.get(name) if self.status else None

    def buffer(self, name: str) -> Fill | None:
        """/readyz tells it as well, to everybody."""
        if (source := self.source(name)) and source.buffer:
            return source.buffer
        found = [line for line in _BUFFER_LINE.finditer(self.ready.text) if line[1] == name]
        return Fill(int(found[0][2]), int(found[0][3]), found[0][4]) if found else None


async def ask(door: Door, paths: Sequence[str], clock: Clock) -> Told:
    """paths: of the webhooks. Never raises: that nobody answers is an answer."""
    return await asyncio.to_thread(_ask, door, paths, clock)


def _ask(door: Door, paths: Sequence[str], clock: Clock) -> Told:
    told = Told(door.url, door.is_named)
    try:
        asked_at = clock.now()
        told.alive = door.get("/healthz")
        if not told.alive.text.startswith("loop "):
            told.no_answer = f"what answers there is none ({told.alive.status} for GET /healthz)"
            return told
        if told.alive.date:
            told.ahead_secs = -skew_secs(told.alive.date, asked_at, clock.now())
        told.ready = door.get("/readyz")
        told.status_reply = door.get("/status")
        if told.status_reply.status == 200:
            told.status = Status.of(_json(told.status_reply.text))
        # Without a question it is 400 for those who may ask, whom also the webhooks let in.
        told.asks_for_token = {401: True, 400: False}.get(door.get("/explain", with_token=False).status)
        if told.asks_for_token and door.has_token:
            told.takes_token = door.get("/explain").status == 400
        told.hooks = {path: door.get(path).status for path in paths}
    except Transient as exc:
        told.no_answer = first_line(exc)
    return told


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return None


# ---------------------------------------------------------------- what it means


def checks_of(told: Told, clock: Clock, server_ahead_secs: float | None = None) -> list[Check]:
    """server_ahead_secs: the API server's clock against ours, where it is known."""
    if told.no_answer:
        return [_nobody(told)]
    checks = [_answers(told, clock), _ready(told), _token(told)]
    if told.ahead_secs is not None and server_ahead_secs is not None:
        checks.append(skew_check(AREA, "the process's", told.ahead_secs - server_ahead_secs))
    if told.status is None:
        return [*checks, _no_status(told)]
    checks += [_writes(told.status)]
    return checks + ([_budget(told.status.budget)] if told.status.budget else [])


def _nobody(told: Told) -> Check:
    text = f"no zenwatch was found at {told.url}: {told.no_answer}; what only it knows is unknown"
    advice = (
        "Name where it listens with --url (and --ca-file, where its certificate is not of a public authority).",
        "In a pod: kubectl port-forward -n zenwatch POD 8080, then --url http://127.0.0.1:8080 (or https:). Nowhere: zenwatch run",
    )
    return Check(AREA, "answers", Level.FAIL if told.is_named else Level.WARN, text, advice)


def _answers(told: Told, clock: Clock) -> Check:
    if told.alive.status != 200:
        advice = "Restart it, and keep its log: something held its loop for seconds (zenwatch_event_loop_lag_max_seconds)."
        return Check(AREA, "answers", Level.FAIL, f"{told.url} is alive, but stuck: {_line(told.alive.text)}", (advice,))
    version = f"zenwatch {told.status.version}" if told.status and told.status.version else "a zenwatch"
    started = f", since {span((clock.now() - told.status.started_at).total_seconds())}" if told.status and told.status.started_at else ""
    return Check(AREA, "answers", Level.OK, f"{version} runs at {told.url}{started}")


def _ready(told: Told) -> Check:
    if told.ready.status == 200:
        return Check(AREA, "ready", Level.OK, "its API server answers, the CRDs are served, no buffer is full")
    bad = [line for line in told.ready.text.splitlines() if re.match(r"\S+ (fails?|full)\b", line)]
    text = "; ".join(bad) or f"{told.ready.status} for GET /readyz: {_line(told.ready.text)}"
    advice = "Mend what is named under cluster and store; the process looks again every 5 s. Its log says more (level error)."
    return Check(AREA, "ready", Level.FAIL, text, (advice,))


def _token(told: Told) -> Check:
    match told.asks_for_token, told.takes_token:
        case True, True:
            return Check(AREA, "token", Level.OK, "the webhooks ask for a token or certificate, and take the one of WEBHOOK_TOKEN_FILE")
        case True, False:
            text = "the token of WEBHOOK_TOKEN_FILE is not one of those that the process knows: senders that use it are refused"
            return Check(AREA, "token", Level.WARN, text, ("Give senders, doctor and the process the same file: see WEBHOOK_TOKEN_FILE.",))
        case True, None:
            text = "the webhooks ask for a token or certificate; whether senders have the right one, only their posts tell"
            return Check(AREA, "token", Level.OK, text)
        case False, _ if not re.match(r"https?://(127\.|localhost\b|\[::1\])", told.url):
            text = "whoever reaches the webhooks may post: no token is asked for"
            return Check(AREA, "token", Level.WARN, text, ("Set WEBHOOK_TOKEN_FILE (openssl rand -hex 32 > token) and restart it.",))
        case False, _:
            return Check(AREA, "token", Level.OK, "the webhooks ask for no token; on this machine none is needed")
        case _:
            return Check(AREA, "token", Level.UNKNOWN, "whether the webhooks ask for a token could not be seen")


def _no_status(told: Told) -> Check:
    code = told.status_reply.status
    if code == 401:
        line = "Set WEBHOOK_TOKEN_FILE for doctor as it is set for the process: who may post may ask."
        return Check(AREA, "status", Level.UNKNOWN, "it tells its status only to those who have a token", (line,))
    text = "it has no /status" if code == 404 else f"it answered {code} for GET /status"
    advice = ("Update it: last data, budget and writes are told by newer ones.",) if code == 404 else ()
    return Check(AREA, "status", Level.UNKNOWN, f"{text}: what it last heard, its budget and its writes are unknown", advice)


def _writes(status: Status) -> Check:
    again = f", {status.retries} were made again so far" if status.retries else ""
    if not status.is_failing:
        return Check(AREA, "writes", Level.OK, f"they reach the API server{again}")
    advice = "Mend what is named under cluster and store. The log names each cause (record_not_written, dead_letter)."
    return Check(AREA, "writes", Level.FAIL, f"they fail{again}", (advice,))


def _budget(budget: Budget) -> Check:
    text = ", ".join(_used(unit, *limit) for unit, limit in budget.limits.items()) or "no limit"
    advice = (
        "See which source fills it: kubectl get zae -A --no-headers | awk '{print $4}' | sort | uniq -c",
        "Then raise RECORD_BUDGET or RECORD_BUDGET_BYTES, raise that source's <NAME>_MIN_SEVERITY, or lower EVENT_TTL (zenwatch settings).",
    )
    if budget.rolled_up:
        text = f"{text}; {budget.rolled_up} findings had no room and are only counted"
        return Check(AREA, "budget", Level.FAIL, text, advice)
    fullest = max((used / limit for used, limit in budget.limits.values()), default=0.0)
    level = Level.FAIL if fullest >= 1 else Level.WARN if fullest >= WARN_SHARE else Level.OK
    return Check(AREA, "budget", level, text if level is Level.OK else f"{text}: full, or soon", () if level is Level.OK else advice)


def _used(unit: str, used: int, limit: int) -> str:
    return f"{used >> 20} of {limit >> 20} MiB" if unit == "bytes" else f"{used} of {limit} {unit}"


def buffer_check(area: str, fill: Fill, setting: str) -> Check:
    """setting: the variable that says how much it takes."""
    text = f"{fill.used} of {fill.capacity} {fill.unit} wait to be stored"
    advice = (f"See under cluster and store why they are not stored faster; raise {setting}, or give it a disk (SPOOL_DIR).",)
    if fill.is_full:
        return Check(area, "buffer", Level.FAIL, f"{text}: it is full, what comes is refused", advice)
    if fill.used >= FULL_RATIO * fill.capacity:
        return Check(area, "buffer", Level.WARN, f"{text}: nearly full", advice)
    return Check(area, "buffer", Level.OK, text)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
