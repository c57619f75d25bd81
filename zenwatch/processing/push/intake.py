"""Accept what a tool posts: contract.PushIntake of one origin. A body is accepted whole, or not at all."""

from collections.abc import Sequence

from zenwatch.contract import Accounts, Clock, Inbox
from zenwatch.model.finding import Finding
from zenwatch.model.refs import Origin
from zenwatch.model.write import Outcome
from zenwatch.processing.event.merge import truncated_to_limit
from zenwatch.processing.event.normalise import normalise, require_source


class EventIntake:
    def __init__(self, origin: Origin, inbox: Inbox, accounts: Accounts, *, clock: Clock, sender_retries: bool) -> None:
        """sender_retries: what is refused comes again, and is counted then."""
        self._origin = origin
        self._inbox = inbox
        self._accounts = accounts
        self._clock = clock
        self._sender_retries = sender_retries

    async def offer(self, findings: Sequence[Finding], *, filtered: int, rejected: int) -> bool:
        require_source(findings, self._origin.source)
        seen_at, cluster_id = self._clock.now(), self._origin.cluster_id
        events = [truncated_to_limit(normalise(finding, cluster_id=cluster_id, seen_at=seen_at)) for finding in findings]
        # The inbox counts the events that it accepts: it calls InFlight.accept.
        is_accepted = not events or await self._inbox.offer(events)
        if not is_accepted and self._sender_retries:
            return False
        self._accounts.receive(self._origin, filtered + rejected)
        self._accounts.settle(self._origin, Outcome.FILTERED, filtered)
        self._accounts.settle(self._origin, Outcome.REJECTED, rejected)
        if not is_accepted:
            self._accounts.receive(self._origin, len(events))
            self._accounts.lose(self._origin, "buffer_full", len(events))
            why = "The buffer was full, and the sender does not send it again."
            for event in events:
                self._accounts.record_outcome(self._origin, event.key, Outcome.LOST, why, name=event.name)
        return is_accepted
