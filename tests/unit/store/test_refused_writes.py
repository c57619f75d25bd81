"""zenwatch/store/writer.py and retry_queue.py: a namespace that refuses writes costs the others nothing, and what waits is not lost."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.support.builders.findings import POD, an_event
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.dead_letters import ListedLetters
from tests.support.fakes.store import MemoryStore
from tests.support.tasks import until
from zenwatch.changes.feed import MemoryFeed
from zenwatch.errors import Denied, Forbidden, NoNamespace, QuotaExceeded, Transient, WebhookFailed, ZenwatchError
from zenwatch.model.event import Event
from zenwatch.model.record import Status, spec_hash
from zenwatch.model.refs import Origin
from zenwatch.model.write import AccountEntry, Delete, Envelope, Outcome, Upsert, WriteResult
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.crd.mirror import Mirror
from zenwatch.store.retry_queue import LETTERS_AGAIN_SECS, LONGEST_WAIT_SECS, MOST_PER_TARGET
from zenwatch.store.writer import Writer, WriterServices

TRIVY = Origin("local", "trivy")
BAD, GOOD = "bad", "good"
POLICY = Denied("400: admission webhook policy.example.com denied the request: not in here")
# Of real time: what takes longer hangs.
HANGS_AFTER_SECS = 0.02


class Desk:
    """A writer that works, and a store that a test makes refuse. results: by key. waits: the keys whose submitter knows that they wait."""

    def __init__(self, *, concurrency: int = 4) -> None:
        self.store, self.clock, self.supervisor = MemoryStore(), FakeClock(), Supervisor()
        self.letters = ListedLetters()
        self.mirror = Mirror(self.store, self.supervisor)
        self.ledger = Ledger(OutcomeLog(self.clock))
        services = WriterServices(self.mirror, MemoryFeed(), self.ledger, self.letters)
        self.writer = Writer(
            self.store, services, self.supervisor, clock=self.clock, concurrency=concurrency, hangs_after_secs=HANGS_AFTER_SECS
        )
        self.results: dict[str, WriteResult] = {}
        self.waits: list[str] = []

    async def submit(self, namespace: str, *keys: object, comes_again: bool = True) -> None:
        for key in keys:
            await self.writer.submit(self.envelope(event_in(namespace, key), comes_again=comes_again))

    def envelope(self, event: Event, *, comes_again: bool = True) -> Envelope:
        def done(result: WriteResult) -> None:
            assert event.key not in self.results, "two results"
            self.results[event.key] = result

        def waits() -> None:
            assert event.key not in self.waits, "told twice"
            assert event.key not in self.results, "told after the result"
            self.waits.append(event.key)

        self.ledger.receive(TRIVY, 1)
        entry = AccountEntry(TRIVY, 1)
        return Envelope(Upsert(event, spec_hash(event), Status(), None), done, entry, waits=waits, comes_again=comes_again)

    def outcomes(self, namespace: str) -> list[Outcome | None]:
        return [result.outcome for key, result in self.results.items() if key.startswith(f"{namespace}/")]

    async def pass_time(self, secs: float) -> None:
        """In steps, so that whoever waits for a part of it acts in between."""
        for _ in range(20):
            self.clock.advance(secs=secs / 20)
            for _ in range(30):
                await asyncio.sleep(0)


def event_in(namespace: str, key: object) -> Event:
    return an_event(key=f"{namespace}/{key}", resource=replace(POD, namespace=namespace))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    await desk.writer.start()
    yield desk
    await desk.writer.stop()


@pytest.mark.parametrize(
    ("refusal", "cause"),
    [
        (POLICY, "policy"),
        (QuotaExceeded("403: exceeded quota: records"), "quota"),
        (WebhookFailed("500: failed calling webhook"), "webhook"),
        (Forbidden("missing permission: create"), "permission"),
        (NoNamespace("own namespace is missing"), "namespace"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_one_namespace_refuses_waits_and_others_are_written(desk: Desk, refusal: ZenwatchError, cause: str) -> None:
    """The log says so once; the namespace, the cause and how many wait are known."""
    desk.store.refuse(BAD, refusal)
    with capture_logs() as lines:
        await desk.submit(BAD, *range(30))
        await desk.submit(GOOD, *range(30))
        await until(lambda: len(desk.results) == 30)
        await desk.pass_time(20.0)

    assert desk.outcomes(GOOD) == [Outcome.STORED] * 30
    assert len(desk.waits) == 30
    [refused] = desk.writer.refused()
    assert (refused.namespace, refused.cause, refused.error, refused.waiting) == (BAD, cause, str(refusal), 30)
    assert [(line["event"], line["namespace"], line["reason"]) for line in lines] == [("writes_refused", BAD, cause)]
    assert lines[0]["count"] >= 1
    assert not desk.writer.is_failing


async def test_what_waits_is_written_once_the_cause_is_gone(desk: Desk) -> None:
    """All of it, after one try that succeeds, and the log says so."""
    desk.store.refuse(BAD, POLICY)
    await desk.submit(BAD, *range(30))
    await until(lambda: len(desk.waits) == 30)
    await desk.pass_time(20.0)
    assert desk.results == {}

    desk.store.take_again(BAD)
    with capture_logs() as lines:
        await desk.pass_time(LONGEST_WAIT_SECS)
        await until(lambda: len(desk.results) == 30)

    assert desk.outcomes(BAD) == [Outcome.STORED] * 30
    assert desk.writer.refused() == []
    assert [line["event"] for line in lines] == ["writes_taken_again"]


async def test_a_blocked_namespace_is_tried_ever_more_rarely(desk: Desk) -> None:
    """Each write once, and then one after the other: an hour costs some 150 requests, not 100 a minute."""
    desk.store.refuse(BAD, POLICY)
    await desk.submit(BAD, *range(100))
    await until(lambda: len(desk.waits) == 100)
    await desk.pass_time(60.0)
    before = len(desk.store.calls)

    for _ in range(60):
        await desk.pass_time(60.0)

    assert before <= 130
    assert 60 <= len(desk.store.calls) - before <= 300


async def test_a_write_that_alone_is_refused_does_not_block_its_namespace(desk: Desk) -> None:
    """A policy may look at the severity: the other records of the namespace are stored at once."""
    await desk.submit(BAD, "first")
    await until(lambda: len(desk.results) == 1)
    desk.store.fail_next(1, POLICY)
    await desk.submit(BAD, "refused")
    await until(lambda: desk.waits == [f"{BAD}/refused"])
    await desk.submit(BAD, *range(10))
    await until(lambda: len(desk.results) == 11)
    assert f"{BAD}/refused" not in desk.results

    await desk.pass_time(2.0)

    await until(lambda: len(desk.results) == 12)


# ---------------------------------------------------------------- namespaces that hang


async def test_writes_that_hang_hold_no_others_up(desk: Desk) -> None:
    """Another namespace is served while all workers hang; then what hangs is known, and the rest of it waits."""
    desk.store.hang(BAD)
    await desk.submit(BAD, *range(12))
    await desk.submit(GOOD, *range(30))
    await until(lambda: len(desk.results) == 30)

    await until(lambda: len(desk.waits) == 12)
    [refused] = desk.writer.refused()
    assert (refused.namespace, refused.cause) == (BAD, "slow")

    desk.store.take_again(BAD)
    await desk.pass_time(LONGEST_WAIT_SECS)
    await until(lambda: len(desk.results) == 42)
    assert desk.outcomes(BAD) == [Outcome.STORED] * 12


async def test_a_store_that_hangs_as_a_whole_is_no_neighbour(desk: Desk) -> None:
    """Nothing else is answered either: the writes go on, and nobody is told that they wait."""
    desk.store.fail_next(1000, Transient("no answer"), of="ping")
    desk.store.hang(BAD)
    desk.store.hang(GOOD)
    await desk.submit(BAD, *range(3))
    await desk.submit(GOOD, *range(3))
    await asyncio.sleep(5 * HANGS_AFTER_SECS)

    assert (desk.waits, desk.writer.refused()) == ([], [])
    desk.store.take_again(BAD)
    desk.store.take_again(GOOD)
    await until(lambda: len(desk.results) == 6)


# ---------------------------------------------------------------- bounds, dead letters, the end


async def test_what_its_submitter_still_has_is_given_back_beyond_the_bound(desk: Desk) -> None:
    """A report is submitted again with the next round."""
    desk.store.refuse(BAD, POLICY)
    await desk.submit(BAD, *range(MOST_PER_TARGET + 100))
    await until(lambda: len(desk.results) >= 90)
    await desk.pass_time(1.0)

    assert set(desk.results.values()) == {WriteResult(None, is_refused=True)}
    [refused] = desk.writer.refused()
    assert refused.waiting <= MOST_PER_TARGET
    assert refused.waiting + len(desk.results) == MOST_PER_TARGET + 100
    assert desk.letters.letters == []


async def test_an_event_that_nobody_else_has_becomes_a_dead_letter_and_comes_back(desk: Desk) -> None:
    """After ten minutes; with the namespace and its sentence. All come back when the namespace takes one."""
    desk.store.refuse(BAD, POLICY)
    await desk.submit(BAD, *range(5), comes_again=False)
    await until(lambda: len(desk.waits) == 5)
    await desk.pass_time(300.0)
    assert desk.results == {}

    await desk.pass_time(400.0)

    await until(lambda: len(desk.results) == 5)
    assert desk.outcomes(BAD) == [Outcome.DEAD_LETTERED] * 5
    assert desk.ledger.page(TRIVY)["dead_lettered"] == 5
    # One at a time is given out again, to see whether it is taken.
    letters = [*desk.letters.letters, *desk.letters.returned]
    assert [(letter.target, letter.reason) for letter in letters] == [(BAD, str(POLICY))] * 5

    desk.store.take_again(BAD)
    await desk.submit(BAD, "a probe")
    await desk.pass_time(LETTERS_AGAIN_SECS)
    await until(lambda: desk.letters.letters == [])
    assert desk.writer.refused() == []


async def test_a_write_that_cannot_wait_is_refused_at_once(desk: Desk) -> None:
    """Retention finds the record again. While the namespace is blocked, it is not even tried."""
    await desk.submit(BAD, "there")
    await until(lambda: len(desk.results) == 1)
    stored = desk.store.stored(event_in(BAD, "there").name)
    desk.store.refuse(BAD, POLICY)
    await desk.submit(BAD, *range(5))
    await until(lambda: len(desk.waits) == 5)
    before = len(desk.store.calls)
    results: list[WriteResult] = []

    await desk.writer.submit(Envelope(Delete(stored), results.append))
    await until(lambda: bool(results))

    assert results == [WriteResult(None, is_refused=True)]
    assert ("delete", stored.name) not in desk.store.calls[before:]


async def test_a_namespace_for_which_nothing_waits_any_more_is_not_called_refused_for_ever(desk: Desk) -> None:
    """Retention alone was refused: after a pause nothing shows whether that is so still, and the next write finds out."""
    await desk.submit(BAD, "there")
    await until(lambda: len(desk.results) == 1)
    stored = desk.store.stored(event_in(BAD, "there").name)
    desk.store.refuse(BAD, POLICY)
    results: list[WriteResult] = []
    for _ in range(4):
        await desk.writer.submit(Envelope(Delete(stored), results.append))
    await until(lambda: len(results) == 4)
    assert [refused.namespace for refused in desk.writer.refused()] == [BAD]

    await desk.pass_time(60.0)

    assert desk.writer.refused() == []


async def test_the_end_of_the_process_loses_nothing_that_waits(desk: Desk) -> None:
    """Reports are read again at the next start; events become dead letters, which come back then."""
    desk.store.refuse(BAD, POLICY)
    await desk.submit(BAD, "report")
    await desk.submit(BAD, "event", comes_again=False)
    await until(lambda: len(desk.waits) == 2)

    await desk.writer.drain()

    assert desk.results == {f"{BAD}/report": WriteResult(None, is_refused=True), f"{BAD}/event": WriteResult(Outcome.DEAD_LETTERED)}
    assert [letter.event.key for letter in desk.letters.letters] == [f"{BAD}/event"]
