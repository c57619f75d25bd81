"""zenwatch/store/writer.py: where the result of a write goes: the change feed, the mirror, the accounts, the submitter."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.builders.findings import an_event
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.dead_letters import ListedLetters
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import until
from zenwatch.changes.feed import MemoryFeed
from zenwatch.contract import Cursor, RecordChange
from zenwatch.errors import Invalid, Transient
from zenwatch.model.event import Event
from zenwatch.model.record import Phase, Reason, Status, Stored, spec_hash
from zenwatch.model.refs import Origin
from zenwatch.model.write import AccountEntry, Delete, Envelope, Outcome, SetStatus, Upsert, WriteRequest, WriteResult
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.crd.mirror import Mirror
from zenwatch.store.writer import TRIES, Writer, WriterServices

TRIVY = Origin("local", "trivy")
WHY = {Outcome.STORED: "It is stored.", Outcome.REPEATED: "It was there."}


class CountingLedger(Ledger):
    """settled: what settle_write() was called with."""

    def __init__(self, outcome_log: OutcomeLog) -> None:
        super().__init__(outcome_log)
        self.settled: list[tuple[AccountEntry, Outcome, str]] = []

    def settle_write(self, entry: AccountEntry, outcome: Outcome, name: str) -> None:
        self.settled.append((entry, outcome, name))
        super().settle_write(entry, outcome, name)


class Desk:
    """A writer that starts and stops as in the process. results: what the submitters received."""

    def __init__(self) -> None:
        self.store, self.clock, self.feed = MemoryStore(), FakeClock(skips_waits=True), MemoryFeed()
        self.supervisor, self.letters = Supervisor(), ListedLetters()
        self.mirror = Mirror(self.store, self.supervisor)
        self.ledger = CountingLedger(OutcomeLog(self.clock))
        services = WriterServices(self.mirror, self.feed, self.ledger, self.letters)
        self.writer = Writer(self.store, services, self.supervisor, clock=self.clock, concurrency=2)
        self.cursor: Cursor = self.feed.cursor()
        self.results: list[WriteResult] = []

    async def write(self, request: WriteRequest, entry: AccountEntry | None = None) -> WriteResult:
        """Submit the request and wait for its result."""
        if entry is not None:
            self.ledger.receive(entry.origin, entry.findings)
        results: list[WriteResult] = []
        await self.writer.submit(Envelope(request, results.append, entry))
        await until(lambda: bool(results))
        return results[0]

    async def create(self, event: Event | None = None) -> Stored:
        result = await self.write(upsert(event or an_event()))
        assert result.stored is not None
        return result.stored

    async def changes(self) -> list[RecordChange]:
        """All changes so far that were not read yet. A last change is added and left out, because reading waits where there is none."""
        self.feed.append(None, None, None)
        *changes, _ = await self.cursor.read(1000)
        return changes

    def page(self) -> dict[str, int]:
        return {line: count for line, count in self.ledger.page(TRIVY).items() if count}


def upsert(event: Event, *, stored: Stored | None = None, count: int = 1, is_exact: bool = False) -> Upsert:
    return Upsert(event, spec_hash(event), Status(count=count), stored, is_exact=is_exact)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    await desk.writer.start()
    yield desk
    await desk.writer.stop()


# ---------------------------------------------------------------- the change feed


async def test_a_new_record_is_one_change(desk: Desk) -> None:
    """There was nothing before, and the event was written."""
    stored = await desk.create()

    [change] = await desk.changes()
    assert (change.before, change.after, change.event, change.is_new) == (None, stored, an_event(), True)


async def test_an_update_is_one_change(desk: Desk) -> None:
    """From the record that was known to the record that is stored now, with the event that was written."""
    before = await desk.create(an_event(title="old"))
    after = (await desk.write(upsert(an_event(title="new"), stored=before))).stored

    [_, change] = await desk.changes()
    assert (change.before, change.after, change.event, change.is_new) == (before, after, an_event(title="new"), False)


async def test_a_change_of_status_is_one_change_without_an_event(desk: Desk) -> None:
    """The spec was not written."""
    before = await desk.create()
    after = (await desk.write(SetStatus(before, Status(Phase.RESOLVED, reason=Reason.FIXED)))).stored

    [_, change] = await desk.changes()
    assert (change.before, change.after, change.event) == (before, after, None)
    assert after is not None
    assert after.is_resolved


async def test_a_deletion_is_one_change_without_a_record_after_it(desk: Desk) -> None:
    """And the mirror forgets the record at once."""
    before = await desk.create()
    await desk.write(Delete(before))

    [_, change] = await desk.changes()
    assert (change.before, change.after, change.event, change.is_new) == (before, None, None, False)
    assert await desk.mirror.get(before.name) is None


async def test_changes_are_numbered_in_the_order_in_which_the_store_confirmed_them(desk: Desk) -> None:
    """A record that is created and counted is two changes; each begins where the one before it ended."""
    await desk.write(upsert(an_event(), count=3))
    counted = await desk.mirror.get(an_event().name)
    assert counted is not None
    await desk.write(Delete(counted))

    changes = await desk.changes()
    assert [change.seq - changes[0].seq for change in changes] == [0, 1, 2]
    assert [change.before for change in changes] == [None, changes[0].after, changes[1].after]


async def test_a_write_that_changes_nothing_is_no_change(desk: Desk) -> None:
    """The record is there already, as it should be."""
    await desk.store.create(an_event(), spec_hash=spec_hash(an_event()))

    assert (await desk.write(upsert(an_event()))).outcome is Outcome.REPEATED
    assert await desk.changes() == []


@pytest.mark.parametrize("failure", [Transient("away"), Invalid("422")], ids=["given up", "refused"])
async def test_a_write_that_failed_is_no_change(desk: Desk, failure: Exception) -> None:
    """The store has confirmed nothing."""
    desk.store.fail_next(TRIES, failure)
    await desk.write(upsert(an_event()))

    assert await desk.changes() == []


async def test_a_step_that_was_confirmed_before_a_failure_is_a_change(desk: Desk) -> None:
    """The record is created, although its count could not be written; the count follows with the next write."""
    desk.store.fail_next(TRIES, Transient("away"), of="set_status")
    assert (await desk.write(upsert(an_event(), count=2))).outcome is None
    created = desk.store.stored(an_event().name)
    await desk.write(upsert(an_event(), count=2, stored=created))

    changes = await desk.changes()
    assert [(change.before, change.after) for change in changes] == [
        (None, created),
        (created, desk.store.stored(an_event().name)),
    ]


async def test_a_new_record_whose_answer_was_lost_is_one_change(desk: Desk) -> None:
    """The second try finds the record that the first one made."""
    desk.store.lose_answers(1)
    stored = await desk.create()

    assert [(change.before, change.after, change.event) for change in await desk.changes()] == [(None, stored, an_event())]


async def test_the_mirror_knows_a_write_before_its_submitter_does(desk: Desk) -> None:
    """Whoever receives a result may ask at once."""
    known: list[int] = []
    await desk.writer.submit(Envelope(upsert(an_event()), lambda _result: known.append(desk.mirror.total_records)))

    await until(lambda: bool(known))
    assert known == [1]


# ---------------------------------------------------------------- the accounts


async def test_the_findings_of_a_write_are_settled_with_one_call(desk: Desk) -> None:
    """One of three made the record, the others repeat it; and the outcome log has the sentence."""
    entry = AccountEntry(TRIVY, 3, an_event().key, WHY)
    await desk.write(upsert(an_event()), entry)

    assert desk.ledger.settled == [(entry, Outcome.STORED, an_event().name)]
    assert desk.page() == {"received": 3, "stored": 1, "repeated": 2}
    [logged] = desk.ledger.outcome_log.find(an_event().key)
    assert (logged["outcome"], logged["why"], logged["name"]) == ("stored", "It is stored.", an_event().name)


async def test_findings_are_settled_before_the_submitter_has_the_result(desk: Desk) -> None:
    """It may count on the accounts."""
    settled: list[int] = []
    envelope = Envelope(upsert(an_event()), lambda _result: settled.append(len(desk.ledger.settled)), AccountEntry(TRIVY, 1))
    await desk.writer.submit(envelope)

    await until(lambda: bool(settled))
    assert settled == [1]


@pytest.mark.parametrize(
    ("entry", "page"),
    [
        (AccountEntry(TRIVY, 2, is_new=False), {"received": 2, "repeated": 2}),
        (AccountEntry(TRIVY, 2, is_new=True), {"received": 2, "stored": 1, "repeated": 1}),
        (AccountEntry(TRIVY, 2, is_withdrawn=True), {"received": 2, "filtered": 2}),
    ],
    ids=["of a record that was there", "of a new record", "withdrawn"],
)
async def test_the_submitter_may_know_better_how_its_findings_end(desk: Desk, entry: AccountEntry, page: dict[str, int]) -> None:
    """A sighting that raises a count writes a record, and is not stored as a new one."""
    await desk.write(upsert(an_event()), entry)

    assert desk.page() == page


async def test_a_write_that_is_not_settled_leaves_its_findings_in_flight(desk: Desk) -> None:
    """The submitter tries again."""
    desk.store.fail_next(TRIES, Transient("away"))
    await desk.write(upsert(an_event()), AccountEntry(TRIVY, 2))

    assert desk.ledger.settled == []
    assert desk.page() == {"received": 2, "in_flight": 2}


async def test_a_conflict_leaves_its_findings_in_flight(desk: Desk) -> None:
    """The submitter computes the write again."""
    await desk.store.create(an_event(title="by another"), spec_hash="another")
    result = await desk.write(upsert(an_event(), is_exact=True), AccountEntry(TRIVY, 1))

    assert (result.outcome, result.is_conflict) == (None, True)
    assert desk.page() == {"received": 1, "in_flight": 1}


async def test_findings_of_a_refused_record_are_dead_lettered(desk: Desk) -> None:
    """All of them: there is no record that one of them could have made."""
    desk.store.fail_next(1, Invalid("422"))
    await desk.write(upsert(an_event()), AccountEntry(TRIVY, 3))

    assert desk.page() == {"received": 3, "dead_lettered": 3}
    assert [letter.event for letter in desk.letters.letters] == [an_event()]


# ---------------------------------------------------------------- a writer that stops and starts


async def test_a_writer_that_stops_and_starts_loses_no_envelope() -> None:
    """Each envelope has one result: what was queued is written after the start, and a write that was cut off is not settled."""
    desk = Desk()
    results: dict[str, list[WriteResult]] = {}
    submitting: list[asyncio.Task[None]] = []
    for round_number in range(10):
        await desk.writer.start()
        desk.store.hold_writes()
        for number in range(5):
            event = an_event(key=f"{round_number}-{number}")
            envelope = Envelope(upsert(event), results.setdefault(event.name, []).append, AccountEntry(TRIVY, 1))
            desk.ledger.receive(TRIVY, 1)
            submitting.append(asyncio.create_task(desk.writer.submit(envelope)))
        await until(lambda: desk.store.calls != [])
        if round_number % 2:
            desk.store.let_go()
            await asyncio.sleep(0)
        await desk.writer.stop()
        desk.store.calls.clear()
    desk.store.let_go()
    await desk.writer.start()
    await asyncio.gather(*submitting)
    await desk.writer.drain()
    await desk.writer.stop()

    assert {len(each) for each in results.values()} == {1}
    stored = {name for name, [result] in results.items() if result.outcome is Outcome.STORED}
    assert stored <= desk.store.objects.keys()
    assert desk.page() == {
        line: count for line, count in {"received": 50, "stored": len(stored), "in_flight": 50 - len(stored)}.items() if count
    }
    assert 0 < 50 - len(stored) <= 20


async def test_a_writer_takes_envelopes_again_after_it_was_drained() -> None:
    """A process that leads again writes again."""
    desk = Desk()
    await desk.writer.start()
    await desk.writer.drain()
    await desk.writer.stop()

    await desk.writer.start()
    result = await desk.write(upsert(an_event()))
    await desk.writer.stop()

    assert result.outcome is Outcome.STORED
