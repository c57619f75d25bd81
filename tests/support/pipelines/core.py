"""What every pipeline leads into: writer, mirror, accounts, change feed. All parts are real but the store and the clock."""

from dataclasses import dataclass

from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from zenwatch.buffer.memory import MemoryDeadLetters
from zenwatch.changes.feed import MemoryFeed
from zenwatch.contract import DeadLetters
from zenwatch.processing.accounts import Ledger
from zenwatch.processing.outcome_log import OutcomeLog
from zenwatch.runtime.supervise import Supervisor
from zenwatch.store.budget import Budget
from zenwatch.store.crd.mirror import Mirror
from zenwatch.store.writer import Writer, WriterServices
from zenwatch.wiring.pipelines import Services
from zenwatch.wiring.settings import Settings


@dataclass(frozen=True)
class Core:
    store: MemoryStore
    mirror: Mirror
    ledger: Ledger
    changes: MemoryFeed
    clock: FakeClock
    writer: Writer
    budget: Budget
    supervisor: Supervisor
    letters: MemoryDeadLetters

    @property
    def outcome_log(self) -> OutcomeLog:
        return self.ledger.outcome_log


def a_core(
    *,
    store: MemoryStore | None = None,
    clock: FakeClock | None = None,
    budget_records: int = 1_000_000,
    dead_letters: DeadLetters | None = None,
    concurrency: int = 2,
) -> Core:
    """The writer has no workers yet, and nothing follows the store yet."""
    clock = clock or FakeClock(skips_waits=True)
    store = store or MemoryStore()
    store.now = clock.now
    supervisor = Supervisor()
    mirror, changes, ledger = Mirror(store, supervisor), MemoryFeed(), Ledger(OutcomeLog(clock))
    letters = MemoryDeadLetters()
    services = WriterServices(mirror, changes, ledger, dead_letters or letters)
    writer = Writer(store, services, supervisor, clock=clock, concurrency=concurrency)
    budget = Budget(mirror, records=budget_records, size_bytes=1 << 40)
    return Core(store, mirror, ledger, changes, clock, writer, budget, supervisor, letters)


def services_of(core: Core, settings: Settings) -> Services:
    """The same, as the wiring of the process hands it on."""
    return Services(
        settings=settings,
        store=core.store,
        records=core.mirror,
        cache=core.mirror,
        writer=core.writer,
        changes=core.changes,
        ledger=core.ledger,
        budget=core.budget,
        spool=None,
        memory=core.letters,
        supervisor=core.supervisor,
        clock=core.clock,
    )
