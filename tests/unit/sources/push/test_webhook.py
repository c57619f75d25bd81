"""zenwatch/sources/push/webhook.py: a body becomes findings, an answer, and a count for every event in it."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from tests.support.builders.findings import a_finding
from tests.support.fakes.clock import FakeClock
from zenwatch.contract import HookResponse
from zenwatch.errors import BadInput
from zenwatch.model.finding import Finding, Severity
from zenwatch.model.refs import Origin
from zenwatch.model.write import AccountEntry, Outcome
from zenwatch.sdk.settings import PushSettings
from zenwatch.sdk.watcher import PushWatcher, SelfIdentity, Verdict
from zenwatch.sources.monitor.source import SourceMonitor
from zenwatch.sources.push.webhook import Webhook


@dataclass
class FakeIntake:
    """offers: what came, with how many were filtered and rejected."""

    is_full: bool = False
    offers: list[tuple[list[str], int, int]] = field(default_factory=list)

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        self.offers.append(([finding.key for finding in findings], filtered, rejected))
        return not self.is_full


@dataclass
class LoggedOutcomes:
    logged: list[tuple[str, str, str, str]] = field(default_factory=list)

    def receive(self, origin: Origin, findings: int) -> None:
        """The intake counts."""

    def settle(self, origin: Origin, outcome: Outcome, findings: int = 1) -> None:
        """The intake counts."""

    def lose(self, origin: Origin, reason: str, findings: int) -> None:
        """The intake counts."""

    def settle_write(self, entry: AccountEntry, outcome: Outcome, name: str) -> None:
        """Nothing is written."""

    def record_outcome(self, origin: Origin, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        self.logged.append((origin.source, key, outcome, why))


def _decode(body: bytes, _media_type: str) -> Iterator[Any]:
    """A JSON list of texts. What has an exclamation mark is a bug of the watcher's."""
    if body.startswith(b"!"):
        raise ZeroDivisionError("hunter2-in-the-body")
    try:
        yield from json.loads(body)
    except ValueError as exc:
        raise BadInput("not JSON; expected a list") from exc


def _prepare(_settings: PushSettings, here: SelfIdentity) -> Any:
    def judge(event: str) -> Verdict:
        match event:
            case "bad":
                raise BadInput("it has no head")
            case "bug":
                raise KeyError("hunter2-in-the-event")
            case "dull" | "own":
                return Verdict(event, "nobody asks for it.", key=f"id of {event}")
            case "low":
                return Verdict("any", "all", a_finding(key="low", severity=Severity.LOW))
            case _:
                return Verdict("any", "all", a_finding(key=f"{here.own_namespace}{event}"))

    return judge


def a_webhook(intake: FakeIntake, outcome_log: LoggedOutcomes | None = None, *, sender_retries: bool = False, **settings: str) -> Webhook:
    watcher = PushWatcher("acme", "/acme", ("application/json",), _decode, _prepare, sender_retries=sender_retries)
    return Webhook(
        Origin("local", watcher.name),
        watcher,
        PushSettings.read(settings),
        identity=SelfIdentity(own_namespace="ns/"),
        intake=intake,
        accounts=outcome_log or LoggedOutcomes(),
        monitor=SourceMonitor(Origin("local", watcher.name), FakeClock(), silence_secs=3600),
    )


async def post(webhook: Webhook, *events: str) -> HookResponse:
    return await webhook.post(json.dumps(events).encode(), "application/json")


def left_out(rule: str) -> float:
    return (
        REGISTRY.get_sample_value("zenwatch_pushed_events_excluded_total", {"cluster_id": "local", "source": "acme", "rule": rule}) or 0.0
    )


async def test_every_event_of_a_body_is_taken_left_out_or_rejected() -> None:
    """The sender gets the number, and so does the ledger; the metric counts by rule."""
    intake, dull = FakeIntake(), left_out("dull")
    answer = await post(a_webhook(intake, MIN_SEVERITY="HIGH"), "a", "dull", "bad", "dull", "own", "low", "b")

    assert answer == HookResponse(200, "2 taken, 4 left out, 1 not understood")
    assert intake.offers == [(["ns/a", "ns/b"], 4, 1)]
    assert left_out("dull") - dull == 2


async def test_a_body_that_cannot_be_read_is_answered_with_why() -> None:
    """Nothing of it is taken; who sent it reads what was expected."""
    intake = FakeIntake()

    assert await a_webhook(intake).post(b"{", "application/json") == HookResponse(400, "not JSON; expected a list")
    assert intake.offers == []


async def test_an_event_that_cannot_be_understood_is_logged_once_for_a_body() -> None:
    """With the reason of the first one: the others will be like it."""
    with capture_logs() as logged:
        await post(a_webhook(FakeIntake()), "bad", "bad", "a")

    [line] = [line for line in logged if line["event"] == "events_rejected"]
    assert (line["source"], line["count"], line["error"]) == ("acme", 2, "it has no head")


async def test_a_bug_of_the_watcher_costs_the_event_and_tells_no_secret() -> None:
    """An exception's message may quote what it stumbled over."""
    intake = FakeIntake()
    with capture_logs() as logged:
        one = await post(a_webhook(intake), "a", "bug")
        whole = await a_webhook(intake).post(b"!", "application/json")

    assert one == HookResponse(200, "1 taken, 0 left out, 1 not understood")
    assert whole == HookResponse(400, "the watcher acme failed with ZeroDivisionError")
    assert intake.offers == [(["ns/a"], 0, 1)]
    assert "hunter2" not in str(logged)
    assert "KeyError in test_webhook.py:" in str(logged)


@pytest.mark.parametrize(("sender_retries", "status"), [(True, 429), (False, 503)])
async def test_a_full_buffer_is_logged_with_what_became_of_the_body(sender_retries: bool, status: int) -> None:  # noqa: FBT001
    """The API server sends it again. Falco does not: that is a line in the log."""
    dull = left_out("dull")
    with capture_logs() as logged:
        answer = await post(a_webhook(FakeIntake(is_full=True), sender_retries=sender_retries), "a", "dull")

    assert (answer.status, answer.retry_after_secs) == (status, 1)
    assert "the buffer of acme is full" in answer.line
    assert [line["event"] for line in logged] == ([] if sender_retries else ["events_lost"])
    assert left_out("dull") == dull


async def test_a_large_body_gives_the_loop_away_between_its_events() -> None:
    """Others are served while ten thousand events are judged."""
    schedule = 0

    async def count() -> None:
        nonlocal schedule
        while True:
            await asyncio.sleep(0)
            schedule += 1

    counting = asyncio.create_task(count())
    await post(a_webhook(FakeIntake()), *["a"] * 30_000)
    counting.cancel()

    assert schedule > 5


async def test_what_was_left_out_can_be_asked_after() -> None:
    """By its key, with the rule that left it out."""
    outcome_log = LoggedOutcomes()
    await post(a_webhook(FakeIntake(), outcome_log, MIN_SEVERITY="HIGH"), "dull", "low", "a")

    assert outcome_log.logged == [
        ("acme", "id of dull", "filtered", "The rule dull: nobody asks for it."),
        ("acme", "low", "filtered", "The rule any: all It is below HIGH."),
    ]
