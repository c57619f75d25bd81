"""What a finding means for its record: create it, write it again, open it again, resolve it, or leave it."""

from dataclasses import replace

from zenwatch.model.event import Event
from zenwatch.model.record import Phase, Reason, Status, Stored, spec_hash, status_of_sighting
from zenwatch.model.refs import ReportRef
from zenwatch.model.write import SetStatus, Upsert


def decide(event: Event, *, count: int, stored: Stored | None, report: ReportRef | None = None) -> Upsert | None:
    """The write that the event needs; None if the record agrees with it. count: how many reports hold it. report: one of them."""
    wanted = spec_hash(event)
    status = status_of_sighting(stored, count=count)
    if stored is not None and report is not None and stored.report_ref is None:
        # A person took its annotation away, or an earlier version of zenwatch did not write it.
        stored = replace(stored, is_edited=True)
    if stored is not None and stored.spec_hash == wanted and not stored.is_edited and status.matches(stored):
        return None
    return Upsert(event, wanted, status, stored, report)


def resolution(stored: Stored, reason: Reason) -> SetStatus:
    return SetStatus(stored, Status(Phase.RESOLVED, stored.count, stored.reopened, reason))
