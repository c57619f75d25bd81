"""The accounts of every origin: counts that always balance, and how the last events ended."""

from collections import Counter as Tally
from functools import cache

from prometheus_client import Counter, Gauge

from zenwatch.metrics import FINDINGS_IN_FLIGHT, FINDINGS_LOST, FINDINGS_RECEIVED, FINDINGS_SETTLED
from zenwatch.model.refs import Origin
from zenwatch.model.write import AccountEntry, Outcome
from zenwatch.processing.outcome_log import OutcomeLog


# labels() takes a lock and builds a key, several times a record: the hot path need not pay for it each time.
@cache
def _received(origin: Origin) -> Counter:
    return FINDINGS_RECEIVED.labels(*origin)


@cache
def _settled(origin: Origin, outcome: Outcome) -> Counter:
    return FINDINGS_SETTLED.labels(*origin, outcome.value)


@cache
def _in_flight(origin: Origin) -> Gauge:
    return FINDINGS_IN_FLIGHT.labels(*origin)


class Ledger:
    """contract.Accounts: for every origin, at every moment, received = the sum over all outcomes + in flight."""

    def __init__(self, outcome_log: OutcomeLog) -> None:
        self.outcome_log = outcome_log
        self._received: Tally[Origin] = Tally()
        self._settled: Tally[tuple[Origin, Outcome]] = Tally()

    def receive(self, origin: Origin, findings: int) -> None:
        self._received[origin] += findings
        _received(origin).inc(findings)
        _in_flight(origin).inc(findings)

    def settle(self, origin: Origin, outcome: Outcome, findings: int = 1) -> None:
        self._settled[origin, outcome] += findings
        _settled(origin, outcome).inc(findings)
        _in_flight(origin).dec(findings)

    def lose(self, origin: Origin, reason: str, findings: int) -> None:
        self.settle(origin, Outcome.LOST, findings)
        FINDINGS_LOST.labels(*origin, reason).inc(findings)

    def record_outcome(self, origin: Origin, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        self.outcome_log.record(origin, key, outcome, why, name=name)

    def settle_write(self, entry: AccountEntry, outcome: Outcome, name: str) -> None:
        for share, findings in entry.shares(outcome).items():
            self.settle(entry.origin, share, findings)
        if entry.key:
            self.record_outcome(entry.origin, entry.key, entry.outcome_of_event(outcome), (entry.why or {}).get(outcome, ""), name=name)

    def page(self, origin: Origin) -> dict[str, int]:
        """The counts of one origin: received, each outcome, in_flight."""
        outcomes = {outcome.value: self._settled[origin, outcome] for outcome in Outcome}
        received = self._received[origin]
        return {"received": received, **outcomes, "in_flight": received - sum(outcomes.values())}

    @property
    def origins(self) -> list[Origin]:
        """Those that anything came from."""
        return sorted(origin for origin, findings in self._received.items() if findings)
