"""The push pipeline from its intake to the store, and the findings that it stores: all parts are real but the store and the clock."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from tests.support.builders.findings import DETECTED_AT, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import background, until
from zenwatch.buffer.memory import MemoryInbox
from zenwatch.contract import Inbox
from zenwatch.errors import Closed, Transient
from zenwatch.metrics import Ledger
from zenwatch.model.finding import Category, Finding, FindingType
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.processing.push.intake import PushedEvents
from zenwatch.sdk.watcher import PushWatcher, Verdict
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import StoredIndex
from zenwatch.store.writer import Writer

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
class PushServices:
    """What the push intake is joined to: all parts are real but the store and the clock."""

    store: MemoryStore
    index: StoredIndex
    writer: Writer
    ledger: Ledger
    clock: FakeClock
    outcome_log: OutcomeLog
    budget: Budget


@dataclass(frozen=True)
class Push:
    """stream: the intake. The other fields are what it is joined to."""

    stream: PushedEvents
    store: MemoryStore
    ledger: Ledger
    clock: FakeClock
    inbox: Inbox
    outcome_log: OutcomeLog

    def page(self) -> dict[str, int]:
        """The lines of the ledger that are not zero."""
        return {line: count for line, count in self.ledger.page(self.stream.source).items() if count}

    def sightings(self) -> dict[str, tuple[int, list[str]]]:
        """Return count and samples of each record, by key."""
        return {
            record["spec"]["key"]: (record["status"]["count"], record["spec"]["details"]["samples"])
            for record in self.store.objects.values()
        }

    async def settled(self) -> None:
        """Wait until no event is in flight."""
        await until(lambda: not self.ledger.page(self.stream.source)["in_flight"])

    async def post(self, *findings: Finding, filtered: int = 0, rejected: int = 0) -> bool:
        """Offer one body and wait until it is settled."""
        taken = await self.stream.offer(findings, filtered=filtered, rejected=rejected)
        await self.settled()
        return taken


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
    """Run the intake of one watcher, the writer and the index, and check at the end that the ledger balances.

    is_started: False: nothing is received from the inbox. balances: False: the process dies before its ledger can balance.
    """
    store, clock, ledger = store or MemoryStore(), clock or FakeClock(skips_waits=True), Ledger()
    store.now = clock.now
    index = StoredIndex(store)
    writer = Writer(store, queue_writes=4, clock=clock)
    inbox = inbox or MemoryInbox(watcher.name, capacity_events=capacity_events)
    outcome_log = OutcomeLog(clock)
    services = PushServices(store, index, writer, ledger, clock, outcome_log, Budget(index, records=budget_records, size_bytes=1 << 40))
    stream = PushedEvents(watcher, cluster_id="local", inbox=inbox, services=services, coalesce_secs=coalesce_secs, window_secs=window_secs)

    async def take() -> None:
        with suppress(Closed):
            await stream.take()

    works = [take, stream.write] if is_started else []

    async def follow() -> None:
        with suppress(Transient):
            await index.follow()
        await index.follow()

    async with background(follow, writer.work, writer.work, *works):
        if is_synced:
            await index.wait_until_synced()
        yield Push(stream, store, ledger, clock, inbox, outcome_log)
        page = ledger.page(watcher.name)
        assert not balances or page["received"] == sum(page.values()) - page["received"], "the ledger does not balance"
