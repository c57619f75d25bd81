"""The accounts: for every origin, received = stored + repeated + filtered + rejected + dead-lettered + lost + in flight."""

from typing import Protocol

from zenwatch.model.refs import Origin
from zenwatch.model.write import AccountEntry, Outcome


class Accounts(Protocol):
    def receive(self, origin: Origin, findings: int) -> None:
        """Findings came in; each of them is settled once."""
        ...

    def settle(self, origin: Origin, outcome: Outcome, findings: int = 1) -> None:
        """So many of the received findings ended like this."""
        ...

    def lose(self, origin: Origin, reason: str, findings: int) -> None:
        """settle() as LOST. reason: buffer_full (the sender does not send again) or shutdown (memory ends with the process)."""
        ...

    def record_outcome(self, origin: Origin, key: str, outcome: Outcome, why: str, *, name: str = "") -> None:
        """Remember how one event ended, for `zenwatch explain`. why: a sentence. name: of the record, where there is one."""
        ...

    def settle_write(self, entry: AccountEntry, outcome: Outcome, name: str) -> None:
        """The store answered a write: settle its findings and remember the outcome of its event, in one call."""
        ...
