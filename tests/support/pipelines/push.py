"""The push pipeline from its intake to the store, and the findings that it stores: all parts are real but the store and the clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from tests.support.builders.findings import DETECTED_AT, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.core import Core, a_core
from tests.support.tasks import background, until
from zenwatch.buffer.memory import MemoryInbox
from zenwatch.contract import Inbox
from zenwatch.errors import Closed, Transient
from zenwatch.model.finding import Category, Finding, FindingType
from zenwatch.model.refs import Origin
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.push.intake import EventIntake
from zenwatch.processing.push.processor import PushProcessor
from zenwatch.sdk.watcher import PushWatcher, Verdict

ALERT = FindingType("falco", "falco-", "runtime-security", Category.SECURITY)


def _nothing(_body: bytes, _media_type: str) -> Any:
    return iter(())


def _prepare(_settings: Any, _self_identity: Any) -> Any:
    return lambda _event: Verdict("any", "any")


FALCO = PushWatcher("falco", "/falco/webhook", ("application/json",), _nothing, _prepare, counts_repeats=True, recent="samples")
AUDIT = PushWatcher("audit", "/audit/webhook", ("application/json",), _nothing, _prepare, sender_retries=True)


def an_alert(key: str = "shell", *, second: int = 0, sample: str = "", watcher: PushWatcher = FALCO, **changes: Any) -> Finding:
    """What the watcher makes of one alert that was raised so many seconds after ten o'clock."""
    fields = {"type": replace(ALERT, source=watcher.name), "detected_at": DETECTED_AT + timedelta(seconds=second)}
    details = {"rule": key, "samples": [sample or f"{second:02}: a shell"]}
    return a_finding(key=key, details=details, **fields | changes)


@dataclass(frozen=True)
class Push:
    origin: Origin
    intake: EventIntake
    processor: PushProcessor
    inbox: Inbox
    core: Core

    @property
    def store(self) -> MemoryStore:
        return self.core.store

    @property
    def ledger(self) -> Ledger:
        return self.core.ledger

    @property
    def clock(self) -> FakeClock:
        return self.core.clock

    @property
    def outcome_log(self) -> OutcomeLog:
        return self.core.outcome_log

    def page(self) -> dict[str, int]:
        """The accounts of the origin that are not zero."""
        return {line: count for line, count in self.ledger.page(self.origin).items() if count}

    def sightings(self) -> dict[str, tuple[int, list[str]]]:
        """Return count and samples of each record, by key."""
        return {
            record["spec"]["key"]: (record["status"]["count"], record["spec"]["details"]["samples"])
            for record in self.store.objects.values()
        }

    async def settled(self) -> None:
        """Wait until no event is in flight."""
        await until(lambda: not self.ledger.page(self.origin)["in_flight"])

    async def post(self, *findings: Finding, filtered: int = 0, rejected: int = 0) -> bool:
        """Offer one body and wait until it is settled."""
        taken = await self.intake.offer(findings, filtered=filtered, rejected=rejected)
        await self.settled()
        return taken


def a_push(
    watcher: PushWatcher,
    core: Core,
    inbox: Inbox,
    *,
    coalesce_secs: float = 0.0,
    window_secs: float | None = None,
    cluster_id: str = "local",
) -> Push:
    """Nothing runs yet."""
    origin = Origin(cluster_id, watcher.name)
    intake = EventIntake(origin, inbox, core.ledger, clock=core.clock, sender_retries=watcher.sender_retries)
    processor = PushProcessor(
        origin,
        watcher,
        inbox,
        store=core.store,
        records=core.mirror,
        cache=core.mirror,
        writer=core.writer,
        accounts=core.ledger,
        capacity=core.budget,
        supervisor=core.supervisor,
        clock=core.clock,
        coalesce_secs=coalesce_secs,
        window_secs=window_secs,
    )
    core.outcome_log.also_search(origin, processor.find_in_flight)
    return Push(origin, intake, processor, inbox, core)


@asynccontextmanager
async def pushing(
    watcher: PushWatcher = FALCO,
    *,
    store: MemoryStore | None = None,
    inbox: Inbox | None = None,
    capacity_events: int = 10,
    is_started: bool = True,
    coalesce_secs: float = 0.0,
    clock: FakeClock | None = None,
    balances: bool = True,
    window_secs: float | None = None,
    budget_records: int = 1_000_000,
    is_synced: bool = True,
) -> AsyncIterator[Push]:
    """Run the intake of one watcher, the writer and the mirror, and check at the end that the accounts balance.

    is_started: False: nothing is received from the inbox. balances: False: the process dies before its accounts can balance.
    """
    core = a_core(store=store, clock=clock, budget_records=budget_records)
    inbox = inbox or MemoryInbox(Origin("local", watcher.name), capacity_events=capacity_events)
    push = a_push(watcher, core, inbox, coalesce_secs=coalesce_secs, window_secs=window_secs)

    async def receive() -> None:
        with suppress(Closed):
            await push.processor.receive()

    works = [receive, push.processor.write] if is_started else []

    async def follow() -> None:
        with suppress(Transient):
            await core.mirror.follow()
        await core.mirror.follow()

    async with background(follow, core.writer.work, core.writer.work, core.writer.retry, *works):
        if is_synced:
            await core.mirror.wait_until_synced()
        yield push
        page = push.ledger.page(push.origin)
        assert not balances or page["received"] == sum(page.values()) - page["received"], "the accounts do not balance"
