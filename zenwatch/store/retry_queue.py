"""Writes that the store refuses for the time being: they wait by target, and a target that refuses costs the others nothing.

In: writes that were refused, or whose target refuses all.  Out: the same writes, when they may be tried again.
Owns: at most MOST_WAITING writes; which targets refuse, since when and why.
Stops: close() returns what waits; nothing waits from then on.

A target is a namespace. One write that is refused waits alone, longer each time; after BLOCKED_AFTER refusals in a row, or one that
took long, the target is blocked: every write for it waits here, and one after the other is tried. The first quick success ends that.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import structlog

from zenwatch.contract import Clock, DeadLetters
from zenwatch.errors import Denied, Forbidden, NoNamespace, QuotaExceeded, WebhookFailed, ZenwatchError, first_line
from zenwatch.model.record import Stored
from zenwatch.model.status import RefusedWrites
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.model.write import Envelope, Outcome
from zenwatch.runtime.backoff import backoff_secs

log = structlog.get_logger(component="retry_queue")

# One is up to 3 KiB of memory.
MOST_WAITING = 2000
# Of writes that are submitted again anyway: a report may hold thousands of findings.
MOST_PER_TARGET = 250
BLOCKED_AFTER = 3
# So many refusals in a row, each of another write: the others would be refused, too, and are not tried one by one.
HOPELESS_AFTER = 50
# Between two tries of a target that refuses quickly, as long as there are writes that were not tried yet.
PACE_SECS = 0.05
# The longest pause of a blocked target, and of a write that alone is refused. Both are guesses: what was mended is stored so soon after.
LONGEST_PAUSE_SECS = 30.0
LONGEST_WAIT_SECS = 60.0
# A target that was blocked for less was never blocked for all its writes: policies that look at single records come and go like this.
BLOCKED_FOR_ALL_SECS = 5.0
# The next try where the store itself is away.
AWAY_SECS = 5.0
LOG_AGAIN_SECS = 600.0
# How many dead letters come back at a time.
LETTERS_AT_ONCE = 100
LETTERS_EVERY_SECS = 1.0
# When they come back where their target takes other writes: a policy may have refused these alone.
LETTERS_AGAIN_SECS = 600.0


class Cause(StrEnum):
    """Why a target takes no writes for the time being."""

    POLICY = "policy"
    QUOTA = "quota"
    WEBHOOK = "webhook"
    PERMISSION = "permission"
    NAMESPACE = "namespace"
    SLOW = "slow"


_CAUSES: dict[type[ZenwatchError], Cause] = {
    QuotaExceeded: Cause.QUOTA,
    Denied: Cause.POLICY,
    WebhookFailed: Cause.WEBHOOK,
    Forbidden: Cause.PERMISSION,
    NoNamespace: Cause.NAMESPACE,
}
REFUSALS = tuple(_CAUSES)


def cause_of(error: ZenwatchError) -> Cause:
    """SLOW for an error that names no cause: the target did not answer in time."""
    return next((cause for kind, cause in _CAUSES.items() if isinstance(error, kind)), Cause.SLOW)


@dataclass
class Progress:
    """How far one write got: a step that succeeded is not repeated when a later step fails."""

    stored: Stored | None
    outcome: Outcome = Outcome.REPEATED
    creates: int = 0


@dataclass(eq=False)
class RefusedWrite:
    """attempts: how often it was refused. due_secs: when it may be tried again. is_announced: its submitter knows that it waits.

    error: the store's last sentence about it.
    """

    target: str
    envelope: Envelope
    progress: Progress
    since_secs: float
    attempts: int = 0
    due_secs: float = 0.0
    is_announced: bool = False
    error: str = ""


@dataclass(eq=False)
class _Target:
    """in_a_row: refusals since the last success. tried: how many writes are tried now. letters: dead letters that are to come back."""

    name: str
    since: datetime
    since_secs: float
    cause: Cause = Cause.SLOW
    error: str = ""
    waiting: list[RefusedWrite] = field(default_factory=list)
    tried: int = 0
    in_a_row: int = 0
    is_blocked: bool = False
    blocked_at_secs: float = 0.0
    paused_until_secs: float = 0.0
    fresh_after_secs: float = 0.0
    letters: int = 0
    letters_due_secs: float = 0.0
    logged_at_secs: float = float("-inf")

    @property
    def is_idle(self) -> bool:
        return not (self.waiting or self.tried or self.letters)

    @property
    def letters_at(self) -> float:
        """When dead letters come back next."""
        return self.paused_until_secs if self.is_blocked else self.letters_due_secs

    def due_at(self, write: RefusedWrite) -> float:
        if not self.is_blocked:
            return write.due_secs
        is_fresh = not write.attempts and self.in_a_row < HOPELESS_AFTER
        return self.fresh_after_secs if is_fresh else self.paused_until_secs

    def next_try(self) -> tuple[RefusedWrite | None, float]:
        """What is tried next and when; None: a dead letter is, or nothing. A blocked target has one try at a time."""
        if self.tried and (self.is_blocked or not self.waiting):
            return None, float("inf")
        if self.waiting:
            write = min(self.waiting, key=lambda write: (self.due_at(write), write.attempts, write.due_secs))
            return write, self.due_at(write)
        return None, self.letters_at if self.letters else self.paused_until_secs


class RetryQueues:
    def __init__(self, clock: Clock, dead_letters: DeadLetters, *, slow_secs: float) -> None:
        """slow_secs: a refusal that takes longer blocks its target at once."""
        self._clock = clock
        self._dead_letters = dead_letters
        self._slow_secs = slow_secs
        self._targets: OrderedDict[str, _Target] = OrderedDict()
        self._news = asyncio.Event()

    # ------------------------------------------------------------ what the writer asks

    def is_blocked(self, target: str) -> bool:
        found = self._targets.get(target)
        return found is not None and found.is_blocked

    def error_of(self, target: str) -> str:
        """The last sentence of a refusal."""
        found = self._targets.get(target)
        return found.error if found else ""

    def may_probe(self, target: str) -> bool:
        """Whether a write that cannot wait may be tried on a blocked target: nothing else is, or will be before it."""
        found = self._targets[target]
        return not found.waiting and not found.tried and self._clock.monotonic_secs() >= found.paused_until_secs

    def refused(self) -> list[RefusedWrites]:
        """What waits, the longest refused target first."""
        return [
            RefusedWrites(t.name, t.cause.value, t.error, format_rfc3339(t.since), len(t.waiting) + t.tried, t.letters)
            for t in sorted(self._targets.values(), key=lambda t: t.since_secs)
        ]

    # ------------------------------------------------------------ what the writer reports

    def without_space(self, write: RefusedWrite) -> RefusedWrite | None:
        """The write that cannot wait where this one is added: itself, or one that is taken out for it. None: there is space."""
        target = self._target(write.target)
        is_full = write.envelope.comes_again and len(target.waiting) >= MOST_PER_TARGET
        if not is_full and sum(len(each.waiting) for each in self._targets.values()) < MOST_WAITING:
            return None
        # One that was not tried yet goes before one that was: it may be one of those that are taken.
        tried = max(target.waiting, key=lambda waiting: waiting.attempts, default=write)
        if write.attempts >= tried.attempts or target.in_a_row >= HOPELESS_AFTER:
            return write
        target.waiting.remove(tried)
        return tried

    def add(self, write: RefusedWrite) -> None:
        """It waits."""
        target = self._target(write.target)
        target.waiting.append(write)
        self._log_now_and_then(target, self._clock.monotonic_secs())
        self._changed(target)

    def refuse(self, write: RefusedWrite, error: ZenwatchError, *, took_secs: float) -> None:
        """The store refused it after so long."""
        target, now_secs = self._target(write.target), self._clock.monotonic_secs()
        target.cause, target.error = cause_of(error), first_line(error)
        write.error = target.error
        target.in_a_row += 1
        is_slow = took_secs >= self._slow_secs
        target.paused_until_secs = now_secs + backoff_secs(max(1, target.in_a_row - BLOCKED_AFTER), cap_secs=LONGEST_PAUSE_SECS)
        target.fresh_after_secs = target.paused_until_secs if is_slow else now_secs + PACE_SECS
        write.attempts += 1
        write.due_secs = now_secs + backoff_secs(write.attempts, first_secs=1.0, cap_secs=LONGEST_WAIT_SECS)
        if is_slow or target.in_a_row >= BLOCKED_AFTER:
            self._block(target, now_secs)
        if write.envelope.waits is None:
            self._log_now_and_then(target, now_secs)

    def postpone(self, write: RefusedWrite) -> None:
        """The store is away; that is no refusal."""
        target, now_secs = self._target(write.target), self._clock.monotonic_secs()
        target.paused_until_secs = target.fresh_after_secs = write.due_secs = now_secs + AWAY_SECS

    def hang(self, target_name: str, sentence: str) -> None:
        """A try of this target takes long while those of others do not; it must end in tried()."""
        target, now_secs = self._target(target_name), self._clock.monotonic_secs()
        if not target.is_blocked:
            target.cause, target.error = Cause.SLOW, sentence
            target.paused_until_secs = target.fresh_after_secs = now_secs + self._slow_secs
        target.tried += 1
        self._block(target, now_secs)
        self._log_now_and_then(target, now_secs)

    def succeed(self, target_name: str, *, took_secs: float) -> None:
        target = self._targets.get(target_name)
        if target is None:
            return
        target.in_a_row = 0
        if target.is_blocked and took_secs < self._slow_secs:
            now_secs = self._clock.monotonic_secs()
            target.is_blocked = False
            target.letters_due_secs = now_secs
            if now_secs - target.blocked_at_secs >= BLOCKED_FOR_ALL_SECS:
                for write in target.waiting:
                    write.due_secs = now_secs
        self._changed(target)

    def letter_written(self, target_name: str) -> None:
        """An event of this target became a dead letter, and comes back when it takes writes again."""
        target = self._target(target_name)
        target.letters += 1
        target.letters_due_secs = self._clock.monotonic_secs() + LETTERS_AGAIN_SECS

    # ------------------------------------------------------------ tries

    async def next(self) -> RefusedWrite:
        """Wait until a write may be tried; it must end in tried()."""
        while True:
            now_secs = self._clock.monotonic_secs()
            due_secs = float("inf")
            for target in list(self._targets.values()):
                await self._bring_letters_back(target, now_secs)
                write, at_secs = target.next_try()
                if at_secs > now_secs:
                    due_secs = min(due_secs, at_secs)
                elif write is not None:
                    return self._take(target, write)
                elif target.is_idle:
                    # Nothing shows any more whether it takes writes: the next one will.
                    self._forget(target)
            self._news.clear()
            if due_secs == float("inf"):
                await self._news.wait()
            else:
                await self._clock.wait(self._news, timeout_secs=max(due_secs - now_secs, PACE_SECS))

    def tried(self, target_name: str) -> None:
        """A try is over; refuse() or succeed() were called before, and add() if it waits again."""
        target = self._targets[target_name]
        target.tried -= 1
        self._changed(target)

    def overdue(self, older_than_secs: float) -> list[RefusedWrite]:
        """Take out the writes that nobody submits again, were refused at least once, and wait for longer than this."""
        latest_secs = self._clock.monotonic_secs() - older_than_secs
        return self._take_out(lambda write: not write.envelope.comes_again and bool(write.attempts) and write.since_secs <= latest_secs)

    def close(self) -> list[RefusedWrite]:
        return self._take_out(lambda _write: True)

    # ------------------------------------------------------------ inside

    def _target(self, name: str) -> _Target:
        if (target := self._targets.get(name)) is None:
            target = self._targets[name] = _Target(name, self._clock.now(), self._clock.monotonic_secs())
        return target

    def _block(self, target: _Target, now_secs: float) -> None:
        if not target.is_blocked:
            target.is_blocked, target.blocked_at_secs = True, now_secs
        self._changed(target)

    def _take(self, target: _Target, write: RefusedWrite) -> RefusedWrite:
        target.waiting.remove(write)
        target.tried += 1
        # Targets take turns.
        self._targets.move_to_end(target.name)
        return write

    def _take_out(self, is_meant: Callable[[RefusedWrite], bool]) -> list[RefusedWrite]:
        taken: list[RefusedWrite] = []
        for target in list(self._targets.values()):
            meant = [write for write in target.waiting if is_meant(write)]
            taken += meant
            target.waiting = [write for write in target.waiting if write not in meant]
            self._changed(target)
        return taken

    async def _bring_letters_back(self, target: _Target, now_secs: float) -> None:
        """All of them once the target takes writes; before that one now and then, where nothing else shows whether it does."""
        if not target.letters or (target.is_blocked and (target.tried or target.waiting)) or now_secs < target.letters_at:
            return
        target.paused_until_secs = target.letters_due_secs = now_secs + LETTERS_EVERY_SECS
        target.letters = await self._dead_letters.bring_back(target.name, 1 if target.is_blocked else LETTERS_AT_ONCE)
        self._changed(target)

    def _changed(self, target: _Target) -> None:
        self._news.set()
        if target.is_idle and not target.is_blocked:
            self._forget(target)

    def _forget(self, target: _Target) -> None:
        if self._targets.pop(target.name, None) is not None:
            log.info("writes_taken_again", namespace=target.name, reason=target.cause.value)

    def _log_now_and_then(self, target: _Target, now_secs: float) -> None:
        if now_secs - target.logged_at_secs >= LOG_AGAIN_SECS:
            target.logged_at_secs = now_secs
            count = len(target.waiting) + target.tried
            log.warning("writes_refused", namespace=target.name, reason=target.cause.value, error=target.error, count=count)
