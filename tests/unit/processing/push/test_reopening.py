"""zenwatch/processing/push/intake.py: a pushed record that was resolved, or not seen for long, and is seen again."""

from datetime import timedelta
from typing import Any

import pytest

from tests.support.builders.findings import DETECTED_AT
from tests.support.fakes.clock import FakeClock
from tests.support.pipelines.push import AUDIT, Push, an_alert, pushing
from zenwatch.errors import Transient
from zenwatch.model.record import Phase, Reason, Status

HOUR_SECS = 3600


def status(push: Push) -> dict[str, Any]:
    [record] = push.store.objects.values()
    fields: dict[str, Any] = record["status"]
    return fields


async def resolve(push: Push) -> None:
    [name] = push.store.objects
    stored = push.store.stored(name)
    await push.store.set_status(stored, Status(Phase.RESOLVED, stored.count, stored.reopened, Reason.NOT_SEEN_AGAIN), now=push.clock.now())


def late_alert(hours: float) -> Any:
    return an_alert(detected_at=DETECTED_AT + timedelta(hours=hours))


@pytest.mark.parametrize("sightings", [1, 3])
async def test_a_resolved_record_that_is_seen_again_is_open_again(sightings: int) -> None:
    """Its count goes on, and it is reopened once, however many sightings came together."""
    async with pushing() as push:
        await push.post(an_alert())
        await resolve(push)
        await push.post(*[an_alert(second=second) for second in range(1, sightings + 1)])

        fields = status(push)
        assert (fields["phase"], fields["count"], fields["reopened"], fields["reason"]) == ("Open", 1 + sightings, 1, "Reopened")
        assert "resolvedAt" not in fields
        assert push.page()["stored"] == 1


@pytest.mark.parametrize("lost", [1, 2, 3])
async def test_a_lost_answer_reopens_once(lost: int) -> None:
    """And the sighting is counted once."""
    async with pushing() as push:
        await push.post(an_alert())
        await resolve(push)
        push.store.lose_answers(lost)
        push.store.fail_next(1, Transient("away"), of="set_status")
        await push.post(an_alert(second=1))

        assert (status(push)["count"], status(push)["reopened"]) == (2, 1)


async def test_an_audit_event_that_is_sent_again_reopens_nothing() -> None:
    """It is the same event."""
    async with pushing(AUDIT) as push:
        await push.post(an_alert(watcher=AUDIT))
        await resolve(push)
        await push.post(an_alert(watcher=AUDIT))

        assert (status(push)["phase"], status(push)["count"]) == ("Resolved", 1)


@pytest.mark.parametrize(("window_hours", "reopened"), [(None, 0), (1, 1), (2, 1), (3, 0), (24, 0)])
async def test_a_repeat_after_the_window_reopens_an_open_record(window_hours: int | None, reopened: int) -> None:
    """DEDUP_WINDOW. Without it a repeat is one more sighting, however late it comes."""
    window_secs = None if window_hours is None else float(window_hours * HOUR_SECS)
    async with pushing(window_secs=window_secs, clock=FakeClock(skips_waits=True)) as push:
        push.clock.advance(secs=9 * HOUR_SECS)
        await push.post(late_alert(0))
        await push.post(late_alert(2.5))

        assert (status(push)["phase"], status(push)["count"], status(push)["reopened"]) == ("Open", 2, reopened)


async def test_after_a_restart_the_window_begins_at_the_stored_sighting() -> None:
    """The record is read where the process does not remember it."""
    async with pushing(window_secs=HOUR_SECS) as before:
        await before.post(late_alert(0))
    async with pushing(window_secs=HOUR_SECS, store=before.store, clock=before.clock) as push:
        await push.post(late_alert(0.5))
        assert (status(push)["count"], status(push)["reopened"]) == (2, 0)
        await push.post(late_alert(2))
        assert (status(push)["count"], status(push)["reopened"]) == (3, 1)
        assert len(push.store.objects) == 1


async def test_a_burst_after_the_window_reopens_once() -> None:
    """The first alert comes late, the others repeat it."""
    async with pushing(window_secs=HOUR_SECS, coalesce_secs=5.0) as push:
        await push.post(late_alert(0))
        for number in range(5):
            await push.post(late_alert(3 + number / 1000))

        assert (status(push)["count"], status(push)["reopened"]) == (6, 1)
