"""zenwatch/processing/rollup.py, and what both pipelines do when the budget is full."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.support.builders.findings import POD, REPORTS, a_finding, an_event
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.pull import Pipeline, running
from tests.support.pipelines.push import AUDIT, FALCO, Push, an_alert, pushing
from zenwatch.errors import Transient
from zenwatch.model.finding import Category, Finding, Resource, Severity
from zenwatch.model.record import spec_hash
from zenwatch.model.refs import ReportRef, Scope
from zenwatch.processing.rollup import Rollups, added, is_rollup, rolled_up, tally_of

SCOPE = Scope(REPORTS)
NGINX, REDIS = ReportRef(REPORTS, "default", "nginx"), ReportRef(REPORTS, "default", "redis")
CACHE = Resource("v1", "Pod", "redis", "default")


def findings(count: int, severity: Severity, *, resource: Resource = POD, first: int = 0) -> list[Finding]:
    return [a_finding(vuln_id=f"CVE-{severity}-{first + number}", severity=severity, resource=resource) for number in range(count)]


def summary(store: MemoryStore) -> dict[str, Any]:
    """Return the details, count and phase of each rollup by resource, and the number of other open records by severity."""
    counts: dict[str, Any] = {}
    for name, record in store.objects.items():
        spec, phase = record["spec"], record["status"]["phase"]
        if is_rollup(name):
            counts[spec["resource"]["name"]] = (spec["details"], record["status"]["count"], phase)
        elif phase == "Open":
            counts[spec["severity"]] = counts.get(spec["severity"], 0) + 1
    return counts


async def settle(pipeline: Pipeline, reports: Mapping[ReportRef, Sequence[Finding]]) -> dict[str, Any]:
    for report, what in reports.items():
        pipeline.intake.take(report, str(len(what)), what)
    pipeline.intake.replace_all(SCOPE, set(reports))
    await pipeline.intake.settle()
    return summary(pipeline.store)


# ---------------------------------------------------------------- one event


def test_a_rollup_counts_its_findings_by_severity() -> None:
    """Its own severity is the worst of them; there is one rollup per resource and source."""
    events = [an_event(key=str(number), severity=severity) for number, severity in enumerate((Severity.LOW, Severity.HIGH, Severity.LOW))]
    rollups = Rollups()
    [name] = {rollups.add(event) for event in events}
    event = rollups.event(name)

    assert event is not None
    assert (event.name, event.key, event.event_type, event.severity) == (name, "default/Pod/nginx/*", "rollup", Severity.HIGH)
    assert (event.details, rollups.total(name)) == ({"HIGH": 1, "LOW": 2, "rolledUp": 3}, 3)
    assert event.title == "3 findings without a record of their own: 1 HIGH, 2 LOW"
    for each in events:
        rollups.drop(each.name)
    assert rollups.event(name) is None
    assert len(rollups) == 0


def test_the_same_finding_is_counted_once_however_often_it_is_added() -> None:
    """With its latest severity."""
    rollups = Rollups()
    rollups.add(an_event(severity=Severity.LOW))
    name = rollups.add(an_event(severity=Severity.HIGH))

    assert rollups.total(name) == 1
    event = rollups.event(name)
    assert event is not None
    assert tally_of(event.details) == {"HIGH": 1}


def test_a_rollup_does_not_depend_on_the_order_of_its_findings() -> None:
    """Reports are listed in any order, and a restart must write nothing."""
    events = [an_event(key=category, category=category) for category in Category]
    hashes: set[str] = set()
    for ordered in (events, events[::-1]):
        rollups = Rollups()
        [name] = {rollups.add(event) for event in ordered}
        event = rollups.event(name)
        assert event is not None
        hashes.add(spec_hash(event))

    assert len(hashes) == 1


def test_tallies_are_added_and_other_events_have_none() -> None:
    """The counts of an earlier process go on."""
    assert tally_of(added(rolled_up(an_event()), {"HIGH": 2, "INFO": 1}).details) == {"HIGH": 3, "INFO": 1}
    assert added(an_event(), {"HIGH": 2}) == an_event()
    assert tally_of({"HIGH": "many", "LOW": 2, "x": 1}) == {"LOW": 2}


def test_counts_that_a_person_wrote_into_a_rollup_are_counts_or_nothing() -> None:
    """Their sum is a number of 64 bits, so that the next event can be written."""
    assert tally_of({"CRITICAL": 2**63 - 1, "HIGH": -1, "LOW": 2}) == {"LOW": 2}


# ---------------------------------------------------------------- findings in reports


async def test_the_lowest_scores_are_rolled_up_and_critical_ones_never() -> None:
    """10 records: the 4 CRITICAL, the rest by score, and a rollup that stands for the rest."""
    async with running(budget_records=10) as pipeline:
        what = [*findings(4, Severity.CRITICAL), *findings(5, Severity.HIGH), *findings(6, Severity.LOW)]
        assert await settle(pipeline, {NGINX: what}) == {
            "CRITICAL": 4,
            "HIGH": 5,
            "nginx": ({"LOW": 6, "rolledUp": 6}, 6, "Open"),
        }
        assert len(pipeline.store.objects) == 10
        assert pipeline.page() == {"received": 15, "stored": 9, "repeated": 6}
        assert pipeline.budget.rolled_up == 6


async def test_more_critical_findings_than_fit_are_stored_all_the_same() -> None:
    """The budget protects etcd; a CRITICAL finding that nobody sees would be worse."""
    async with running(budget_records=10) as pipeline:
        after = await settle(pipeline, {NGINX: [*findings(15, Severity.CRITICAL), *findings(3, Severity.HIGH)]})

    assert (after["CRITICAL"], after["nginx"][0]) == (15, {"HIGH": 3, "rolledUp": 3})


async def test_each_resource_has_a_rollup_of_its_own() -> None:
    """The rollup needs space, too."""
    async with running(budget_records=10) as pipeline:
        after = await settle(pipeline, {NGINX: findings(10, Severity.HIGH), REDIS: findings(10, Severity.MEDIUM, resource=CACHE)})

    assert after["HIGH"] == 8
    assert (after["nginx"][1], after["redis"][1]) == (2, 10)


async def test_a_rolled_up_finding_has_its_own_record_as_soon_as_there_is_space() -> None:
    """The highest scores come first, and a rollup without findings is resolved."""
    async with running(budget_records=10) as pipeline:
        await settle(pipeline, {NGINX: findings(10, Severity.HIGH), REDIS: findings(3, Severity.LOW, resource=CACHE)})
        for name in list(pipeline.store.objects):
            if not is_rollup(name):
                await pipeline.store.delete(pipeline.store.stored(name))
                pipeline.mirror.drop(name)
        after = await settle(pipeline, {NGINX: findings(2, Severity.HIGH), REDIS: findings(3, Severity.LOW, resource=CACHE)})

    assert after == {"HIGH": 2, "LOW": 3, "redis": ({"LOW": 3, "rolledUp": 3}, 3, "Resolved"), **_over(after, "nginx")}
    assert pipeline.budget.rolled_up == 0


def _over(after: dict[str, Any], resource: str) -> dict[str, Any]:
    """A resolved rollup keeps its last details."""
    return {resource: (*after[resource][:2], "Resolved")} if resource in after else {}


async def test_a_rolled_up_finding_that_is_fixed_is_not_counted_any_more() -> None:
    """No record is created for it."""
    async with running(budget_records=10) as pipeline:
        await settle(pipeline, {NGINX: findings(14, Severity.HIGH)})
        before = summary(pipeline.store)
        stays = [record["spec"]["details"]["vulnID"] for name, record in pipeline.store.objects.items() if not is_rollup(name)]
        after = await settle(pipeline, {NGINX: [finding for finding in findings(14, Severity.HIGH) if finding.details["vulnID"] in stays]})

    assert (before["HIGH"], before["nginx"][1]) == (9, 5)
    assert (after["HIGH"], after["nginx"][2]) == (9, "Resolved")


async def test_a_restart_over_a_full_budget_writes_nothing() -> None:
    """The same findings are rolled up again."""
    store = MemoryStore()
    what = {NGINX: [*findings(4, Severity.CRITICAL), *findings(9, Severity.HIGH)], REDIS: findings(5, Severity.LOW, resource=CACHE)}
    async with running(budget_records=10, store=store) as pipeline:
        before = await settle(pipeline, what)
    written = list(store.calls)
    async with running(budget_records=10, store=store, scopes=frozenset({SCOPE})) as pipeline:
        await pipeline.mirror.wait_until_synced()
        assert await settle(pipeline, what) == before

    assert store.calls == written


async def test_after_a_restart_with_a_higher_budget_each_finding_has_its_own_record() -> None:
    """And the rollup is resolved."""
    store = MemoryStore()
    what = {NGINX: findings(14, Severity.HIGH)}
    async with running(budget_records=10, store=store) as pipeline:
        await settle(pipeline, what)
    async with running(budget_records=100, store=store, scopes=frozenset({SCOPE})) as pipeline:
        after = await settle(pipeline, what)

    assert (after["HIGH"], after["nginx"][2]) == (14, "Resolved")


# ---------------------------------------------------------------- pushed events


def alerts(count: int, severity: Severity, *, watcher: Any = FALCO, first: int = 0) -> list[Finding]:
    return [an_alert(f"{severity}-{first + number}", severity=severity, watcher=watcher) for number in range(count)]


def details(push: Push) -> tuple[dict[str, Any], int]:
    [rollup] = [record for name, record in push.store.objects.items() if is_rollup(name)]
    return {name: value for name, value in rollup["spec"]["details"].items() if name != "samples"}, rollup["status"]["count"]


@pytest.mark.parametrize("watcher", [FALCO, AUDIT])
async def test_pushed_events_without_space_are_counted_in_the_rollup_of_their_resource(watcher: Any) -> None:
    """Each of them; a CRITICAL event has its own record."""
    async with pushing(watcher, budget_records=10, capacity_events=100) as push:
        for number in range(10):
            await push.post(*alerts(1, Severity.HIGH, watcher=watcher, first=number))
        for number in range(3):
            await push.post(*alerts(2, Severity.LOW, watcher=watcher, first=10 * number))
        await push.post(*alerts(1, Severity.MEDIUM, watcher=watcher))
        await push.post(*alerts(1, Severity.CRITICAL, watcher=watcher))

        after, count = details(push)
        own = [record["spec"]["severity"] for name, record in push.store.objects.items() if not is_rollup(name)]
        assert sorted(own) == ["CRITICAL", *["HIGH"] * 10]
        assert (after, count) == ({"MEDIUM": 1, "LOW": 6, "rolledUp": 7}, 7)


async def test_an_event_that_has_a_record_is_counted_there_also_when_the_budget_is_full() -> None:
    """It needs no space."""
    async with pushing(budget_records=10, capacity_events=100) as push:
        for number in range(10):
            await push.post(*alerts(1, Severity.HIGH, first=number))
        await push.post(*alerts(1, Severity.HIGH, first=3))

        assert not any(is_rollup(name) for name in push.store.objects)
        assert sum(record["status"]["count"] for record in push.store.objects.values()) == 11


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_rollup_counts_each_event_once_whatever_fails(lost: int) -> None:
    """A write is repeated with the same content."""
    async with pushing(budget_records=10, capacity_events=100) as push:
        for number in range(10):
            await push.post(*alerts(1, Severity.HIGH, first=number))
        for number in range(4):
            push.store.lose_answers(lost)
            push.store.fail_next(1, Transient("away"), of="set_status")
            await push.post(*alerts(1, Severity.LOW, first=number))

        assert details(push) == ({"LOW": 4, "rolledUp": 4}, 4)


async def test_events_that_came_before_the_store_was_read_are_rolled_up_too() -> None:
    """The number of records is known only after that."""
    async with pushing(budget_records=10, capacity_events=100) as before:
        for number in range(10):
            await before.post(*alerts(1, Severity.HIGH, first=number))
    before.store.fail_next(1, Transient("away"), of="follow")
    async with pushing(budget_records=10, capacity_events=100, store=before.store, is_synced=False) as push:
        await push.post(*alerts(5, Severity.LOW), *alerts(1, Severity.HIGH))

        assert details(push) == ({"LOW": 5, "rolledUp": 5}, 5)
        assert len(push.store.objects) == 11


async def test_a_rollup_goes_on_after_a_restart() -> None:
    """Its counts are read from the record."""
    async with pushing(budget_records=10, capacity_events=100) as before:
        for number in range(10):
            await before.post(*alerts(1, Severity.HIGH, first=number))
        await before.post(*alerts(2, Severity.LOW))
    async with pushing(budget_records=10, capacity_events=100, store=before.store) as push:
        await push.post(*alerts(1, Severity.INFO))

        assert details(push) == ({"LOW": 2, "INFO": 1, "rolledUp": 3}, 3)


async def test_more_events_than_are_written_at_a_time_are_rolled_up_once() -> None:
    """Their rollup is due, and grows in the same moment: that is one write, not a second one beside the first."""
    async with pushing(budget_records=1, capacity_events=100) as push:
        await push.post(*alerts(1, Severity.HIGH))
        await push.post(*alerts(40, Severity.LOW))
        await push.post(*alerts(40, Severity.LOW, first=20))

        assert details(push) == ({"LOW": 80, "rolledUp": 80}, 80)
        assert push.page() == {"received": 81, "stored": 2, "repeated": 79}
