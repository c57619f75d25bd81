"""What every contract.Store promises. Run it by a subclass named Test… that gives the fixture `harness`.

The suite knows nothing of Kubernetes: whatever it does behind the store's back, it does through the harness.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol, cast

import pytest

from tests.support.builders.findings import an_event
from zenwatch.contract import Gone, Put, Store, Synced
from zenwatch.errors import Conflict, Invalid, NotFound
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.record import Phase, Reason, Status, Stored, spec_hash
from zenwatch.model.refs import Origin, ReportRef

# Later than any record is made.
SEEN_AT = datetime(2096, 3, 4, 5, 6, 7, tzinfo=UTC)
PATIENCE_SECS = 20.0
# More than one page of a list, whatever the pages' size begins with.
MANY = 45

Told = Put | Gone | Synced


class StoreHarness(Protocol):
    """One empty store, and the hands that reach behind it.

    cluster_id: the store's; no other test uses it, so that what it follows is this test's alone.
    namespace: where the resources of the test's findings are.
    """

    store: Store
    cluster_id: str
    namespace: str

    async def remove(self, stored: Stored) -> None:
        """Delete the record as a person would; return when it is gone."""
        ...

    async def spec_of(self, stored: Stored) -> dict[str, Any]:
        """The spec as it is stored now."""
        ...

    async def status_of(self, stored: Stored) -> dict[str, Any]:
        """The status as a reader sees it now, defaults included."""
        ...


class NamespacedStoreHarness(StoreHarness, Protocol):
    """own_namespace: exists, and takes the records that belong to no namespace. missing_namespace: a name that no namespace has."""

    own_namespace: str
    missing_namespace: str

    async def terminating_namespace(self) -> str:
        """Make a namespace, begin to delete it, and see to it that it does not get further than that. Return its name."""
        ...


class Listener:
    """One follow(), read as far as a test wants."""

    def __init__(self, told: AsyncIterator[Told]) -> None:
        self._told = told

    async def until(self, is_it: Callable[[Told], bool]) -> list[Told]:
        """All that is told up to and with the first that is_it says yes to."""
        heard: list[Told] = []
        async with asyncio.timeout(PATIENCE_SECS):
            async for told in self._told:
                heard.append(told)
                if is_it(told):
                    return heard
        raise AssertionError(f"follow() ended by itself after {heard}")

    async def until_synced(self) -> list[Stored]:
        """What is told before Synced; nothing but Puts may be."""
        heard = await self.until(lambda told: isinstance(told, Synced))
        assert all(isinstance(told, Put) for told in heard[:-1]), heard
        return [told.stored for told in heard if isinstance(told, Put)]

    async def until_put(self, stored: Stored) -> None:
        await self.until(lambda told: told == Put(stored))

    async def until_gone(self, name: str) -> Gone:
        last = (await self.until(lambda told: isinstance(told, Gone) and told.name == name))[-1]
        assert isinstance(last, Gone)
        return last


@asynccontextmanager
async def monitored(store: Store) -> AsyncIterator[Listener]:
    told = cast("AsyncGenerator[Told, None]", store.follow())
    try:
        yield Listener(told)
    finally:
        await told.aclose()


class StoreSuite:
    @pytest.fixture
    def store(self, harness: StoreHarness) -> Store:
        return harness.store

    @pytest.fixture
    def event(self, harness: StoreHarness) -> Event:
        return _event(harness)

    # ------------------------------------------------------------ create

    async def test_a_new_record_is_open_and_counted_once(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """create() returns what later decisions need, and True for the one who made it."""
        stored, is_new = await store.create(event, spec_hash=spec_hash(event))

        assert is_new
        assert stored.version > 0
        assert stored.first_seen > 0
        assert stored == Stored(
            name=event.name,
            namespace=harness.namespace,
            origin=Origin(harness.cluster_id, "trivy"),
            spec_hash=spec_hash(event),
            severity="HIGH",
            phase=Phase.OPEN,
            count=1,
            reopened=0,
            first_seen=stored.first_seen,
            last_seen=stored.first_seen,
            version=stored.version,
            report="",
            resource=event.resource,
            size_units=stored.size_units,
            cve="CVE-2026-1",
        )

    async def test_the_record_says_what_the_event_says(self, store: Store, harness: StoreHarness) -> None:
        """Nothing is lost and nothing added on the way into the store."""
        event = _event(harness, remediation="Upgrade", references=("https://example.test/1",))

        stored, _ = await store.create(event, spec_hash="a")

        assert await harness.spec_of(stored) == {
            "source": "trivy",
            "clusterID": harness.cluster_id,
            "key": event.key,
            "category": "security",
            "severity": "HIGH",
            "score": 77,
            "eventType": "vulnerability-report",
            "detectedAt": "2026-01-01T10:00:00Z",
            "title": event.title,
            "remediation": "Upgrade",
            "references": ["https://example.test/1"],
            "resource": {"apiVersion": "v1", "kind": "Pod", "name": "nginx", "namespace": harness.namespace},
            "details": event.details,
        }

    async def test_a_second_create_returns_the_record_that_is_there(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The first one stands untouched: who comes second learns what it says and decides what to do."""
        first, _ = await store.create(event, spec_hash="first")
        changed = _event(harness, severity=Severity.CRITICAL)

        second, is_new = await store.create(changed, spec_hash="second")

        assert not is_new
        assert second == first

    async def test_of_two_creates_at_once_one_makes_the_record(self, store: Store, event: Event) -> None:
        """Two replicas that find the same thing store it once."""
        answers = await asyncio.gather(*(store.create(event, spec_hash="a") for _ in range(2)))

        assert sorted(is_new for _, is_new in answers) == [False, True]
        assert answers[0][0] == answers[1][0]

    async def test_a_record_that_the_store_can_never_take_is_invalid(self, store: Store, harness: StoreHarness) -> None:
        """Invalid is about this record: the next one is taken."""
        with pytest.raises(Invalid):
            await store.create(_event(harness, title=""), spec_hash="a")

        _, is_new = await store.create(_event(harness), spec_hash="a")
        assert is_new

    # ------------------------------------------------------------ update

    async def test_an_update_replaces_what_was_found(self, store: Store, harness: StoreHarness) -> None:
        """What the event no longer says is gone from the record, also inside details."""
        before = _event(harness, remediation="Upgrade", references=("https://example.test/1",), details={"old": "x", "packages": ["a"]})
        stored, _ = await store.create(before, spec_hash="before")
        after = _event(harness, severity=Severity.CRITICAL, score=95, title="worse", resource=Resource(), details={"new": "y"})

        updated = await store.update(after, spec_hash="after", stored=stored)

        spec = await harness.spec_of(updated)
        assert (updated.spec_hash, updated.severity) == ("after", "CRITICAL")
        assert updated.version > stored.version
        assert (spec["severity"], spec["score"], spec["title"], spec["details"]) == ("CRITICAL", 95, "worse", {"new": "y"})
        assert not {"remediation", "references", "resource"} & spec.keys()

    async def test_an_update_can_add_what_was_absent(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """A tool may learn of a fix later."""
        stored, _ = await store.create(event, spec_hash="before")
        after = _event(harness, remediation="Upgrade", references=("https://example.test/1",))

        spec = await harness.spec_of(await store.update(after, spec_hash="after", stored=stored))

        assert (spec["remediation"], spec["references"]) == ("Upgrade", ["https://example.test/1"])

    async def test_an_update_keeps_identity_and_first_detection(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """source, clusterID and key make the name; detectedAt is of the first sighting."""
        stored, _ = await store.create(event, spec_hash="before")
        later = _event(harness, detected_at="2026-02-02T00:00:00Z", title="changed")

        spec = await harness.spec_of(await store.update(later, spec_hash="after", stored=stored))

        assert (spec["source"], spec["clusterID"], spec["key"]) == (event.source, event.cluster_id, event.key)
        assert (spec["title"], spec["detectedAt"]) == ("changed", event.detected_at)

    async def test_an_update_leaves_the_status_alone(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """What became of a record is not what was found."""
        stored, _ = await store.create(event, spec_hash="before")
        counted = await store.set_status(stored, Status(count=3, seen_at=SEEN_AT), now=SEEN_AT)
        status = await harness.status_of(counted)

        updated = await store.update(_event(harness, title="changed"), spec_hash="after", stored=counted)

        assert updated.count == 3
        assert await harness.status_of(updated) == status

    async def test_an_update_of_a_removed_record_is_not_found(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Whoever meets this creates the record anew."""
        stored, _ = await store.create(event, spec_hash="a")
        await harness.remove(stored)

        with pytest.raises(NotFound):
            await store.update(event, spec_hash="b", stored=stored)

    # ------------------------------------------------------------ set_status

    async def test_a_count_is_written_with_its_time(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The status changes, what was found does not."""
        stored, _ = await store.create(event, spec_hash="a")

        counted = await store.set_status(stored, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)

        status = await harness.status_of(counted)
        assert counted == replace(
            stored, count=2, last_seen=int(SEEN_AT.timestamp()), version=counted.version, size_units=counted.size_units
        )
        assert counted.version > stored.version
        assert (status["count"], status["lastSeen"], status["phase"]) == (2, "2096-03-04T05:06:07Z", "Open")

    async def test_a_resolved_record_says_when_and_why(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """And an opened one loses it: it was not resolved."""
        stored, _ = await store.create(event, spec_hash="a")

        resolved = await store.set_status(stored, Status(Phase.RESOLVED, reason=Reason.FIXED), now=SEEN_AT)
        status = await harness.status_of(resolved)
        assert resolved.is_resolved
        assert (status["resolvedAt"], status["reason"], status["phase"]) == ("2096-03-04T05:06:07Z", "Fixed", "Resolved")

        opened = await store.set_status(resolved, Status(reopened=1, reason=Reason.REOPENED), now=SEEN_AT)
        again = await harness.status_of(opened)
        assert (opened.is_open, opened.reopened, opened.first_seen) == (True, 1, stored.first_seen)
        assert "resolvedAt" not in again
        assert (again["reason"], again["phase"], again["firstSeen"]) == ("Reopened", "Open", status["firstSeen"])

    async def test_a_status_is_never_seen_last_before_it_was_seen_first(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """A tool's clock may be behind ours; the API server would refuse it."""
        stored, _ = await store.create(event, spec_hash="a")

        counted = await store.set_status(stored, Status(count=2, seen_at=datetime(2001, 1, 1, tzinfo=UTC)), now=SEEN_AT)

        status = await harness.status_of(counted)
        assert status["lastSeen"] == status["firstSeen"]

    async def test_a_record_tells_which_report_said_it(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The last one that had it written; an update that knows none leaves it."""
        stored, _ = await store.create(event, spec_hash="a", report=ReportRef("reports.example.com", "default", "one"))
        assert stored.report == "reports.example.com/default/one"

        updated = await store.update(event, spec_hash="b", stored=stored, report=ReportRef("reports.example.com", "default", "two"))
        assert updated.report == "reports.example.com/default/two"
        assert (await store.update(event, spec_hash="c", stored=updated)).report == updated.report

    async def test_a_count_of_a_removed_record_is_not_found(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Whoever meets this creates the record anew."""
        stored, _ = await store.create(event, spec_hash="a")
        await harness.remove(stored)

        with pytest.raises(NotFound):
            await store.set_status(stored, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)

    async def test_a_write_of_before_a_newer_one_is_a_conflict(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """One that was given up and lands late must not undo what came after it."""
        stored, _ = await store.create(event, spec_hash="a")
        counted = await store.set_status(stored, Status(count=3, seen_at=SEEN_AT), now=SEEN_AT)

        with pytest.raises(Conflict):
            await store.set_status(stored, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)
        with pytest.raises(Conflict):
            await store.update(event, spec_hash="b", stored=stored)

        assert (await harness.status_of(counted))["count"] == 3
        assert (await store.update(event, spec_hash="b", stored=counted)).spec_hash == "b"

    async def test_a_removed_record_can_be_created_again(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """A name is not used up; and the versions of the new record go on where the old one's ended."""
        stored, _ = await store.create(event, spec_hash="a")
        await harness.remove(stored)

        again, is_new = await store.create(event, spec_hash="a")

        assert is_new
        assert again.version > stored.version

    # ------------------------------------------------------------ follow

    async def test_an_empty_store_is_synced_at_once(self, store: Store) -> None:
        """Without records Synced is the first that is told; waiting for a Put would never end."""
        async with monitored(store) as listener:
            assert await listener.until_synced() == []

    async def test_a_follow_tells_what_was_stored_before_it(self, store: Store, harness: StoreHarness) -> None:
        """Each record once, as it is now, in whatever namespace it lies."""
        created = [(await store.create(_event(harness, number), spec_hash="a"))[0] for number in range(3)]
        created[0] = await store.set_status(created[0], Status(count=5, seen_at=SEEN_AT), now=SEEN_AT)
        elsewhere, _ = await store.create(_event(harness, 3, resource=Resource(kind="Node", name="n")), spec_hash="a")

        async with monitored(store) as listener:
            told = await listener.until_synced()

        assert _by_name(told) == _by_name([*created, elsewhere])

    async def test_a_follow_tells_more_records_than_fit_a_page(self, store: Store, harness: StoreHarness) -> None:
        """Synced comes after all of them, not after the first batch."""
        created = await asyncio.gather(*(store.create(_event(harness, number), spec_hash="a") for number in range(MANY)))

        async with monitored(store) as listener:
            told = await listener.until_synced()

        assert _by_name(told) == _by_name([stored for stored, _ in created])

    async def test_a_follow_tells_every_change_after_that(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Ours included: what a write returned is what the follower hears."""
        async with monitored(store) as listener:
            await listener.until_synced()
            stored, _ = await store.create(event, spec_hash="a")
            await listener.until_put(stored)
            updated = await store.update(_event(harness, severity=Severity.CRITICAL), spec_hash="b", stored=stored)
            await listener.until_put(updated)
            counted = await store.set_status(updated, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)
            await listener.until_put(counted)

    async def test_a_follow_tells_that_a_record_is_gone(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """With a version above all that the record had, so that a late Put cannot bring it back."""
        async with monitored(store) as listener:
            await listener.until_synced()
            stored, _ = await store.create(event, spec_hash="a")
            await harness.remove(stored)

            gone = await listener.until_gone(event.name)

        assert gone.version > stored.version

    async def test_a_follow_is_deaf_to_other_clusters(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Two zenwatch may share a store; neither may act on the other's records."""
        foreign = an_event(cluster_id=f"{harness.cluster_id}-2", resource=event.resource)
        await store.create(foreign, spec_hash="a")

        async with monitored(store) as listener:
            assert await listener.until_synced() == []
            await store.set_status((await store.create(foreign, spec_hash="a"))[0], Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)
            mine, _ = await store.create(event, spec_hash="a")
            heard = await listener.until(lambda told: told == Put(mine))

        assert [told.stored.name for told in heard if isinstance(told, Put)] == [event.name]

    async def test_a_second_follow_tells_the_whole_truth_anew(self, store: Store, harness: StoreHarness) -> None:
        """After a break, what is not told up to Synced is gone: nothing that happened in between is missed."""
        stays, goes = [(await store.create(_event(harness, number), spec_hash="a"))[0] for number in range(2)]
        async with monitored(store) as listener:
            await listener.until_synced()
        await harness.remove(goes)
        comes, _ = await store.create(_event(harness, 2), spec_hash="a")

        async with monitored(store) as listener:
            told = await listener.until_synced()

        assert _by_name(told) == _by_name([stays, comes])

    async def test_several_followers_hear_the_same(self, store: Store, event: Event) -> None:
        """One listener does not take anything from another."""
        async with monitored(store) as one, monitored(store) as other:
            await one.until_synced()
            await other.until_synced()
            stored, _ = await store.create(event, spec_hash="a")

            await one.until_put(stored)
            await other.until_put(stored)


class NamespacedStoreSuite:
    """What a store promises besides, if its records lie in namespaces that come and go."""

    @pytest.fixture
    def store(self, harness: NamespacedStoreHarness) -> Store:
        return harness.store

    async def test_a_finding_without_a_namespace_goes_to_the_own_one(self, store: Store, harness: NamespacedStoreHarness) -> None:
        """Every record has a namespace, also that of a node or a cluster role."""
        stored, is_new = await store.create(_event(harness, resource=Resource(kind="ClusterRole", name="admin")), spec_hash="a")

        assert (stored.namespace, is_new) == (harness.own_namespace, True)

    async def test_a_missing_namespace_falls_back_to_the_own_one(self, store: Store, harness: NamespacedStoreHarness) -> None:
        """The resource is gone with its namespace; that it was found still counts, and is stored once."""
        event = _event(harness, resource=Resource("v1", "Pod", "nginx", harness.missing_namespace))

        first, is_new = await store.create(event, spec_hash="a")
        again, is_new_again = await store.create(event, spec_hash="a")

        assert (first.namespace, is_new) == (harness.own_namespace, True)
        assert (again, is_new_again) == (first, False)

    async def test_a_namespace_that_goes_away_falls_back_to_the_own_one(self, store: Store, harness: NamespacedStoreHarness) -> None:
        """Such a namespace refuses what is new although it can still be seen."""
        going = await harness.terminating_namespace()

        stored, is_new = await store.create(_event(harness, resource=Resource("v1", "Pod", "nginx", going)), spec_hash="a")

        assert (stored.namespace, is_new) == (harness.own_namespace, True)


def _event(harness: StoreHarness, number: int = 1, **changes: Any) -> Event:
    place = Resource("v1", "Pod", "nginx", harness.namespace)
    key = f"{harness.namespace}/Pod/nginx/CVE-2026-{number}"
    return an_event(**{"cluster_id": harness.cluster_id, "key": key, "resource": place} | changes)


def _by_name(records: list[Stored]) -> dict[str, Stored]:
    assert len({stored.name for stored in records}) == len(records), "a record was told twice"
    return {stored.name: stored for stored in records}
