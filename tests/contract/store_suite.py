"""What every contract.Store promises. Run it by a subclass named Test… that gives the fixture `harness`.

The suite knows nothing of Kubernetes: what it changes without the store, it changes through the harness.
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

StoreChange = Put | Gone | Synced


class StoreHarness(Protocol):
    """An empty store, and a way to change its records without it.

    cluster_id: the store's. No other test uses it: the store follows the records of this test only.
    namespace: where the resources of the test's findings are.
    """

    store: Store
    cluster_id: str
    namespace: str

    async def remove(self, stored: Stored) -> None:
        """Delete the record as a person would, and return when it is deleted."""
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
        """Create a namespace whose deletion has begun and does not end. Return its name."""
        ...


class Listener:
    """One follow(), read as far as a test wants."""

    def __init__(self, changes: AsyncIterator[StoreChange]) -> None:
        self._changes = changes

    async def until(self, is_wanted: Callable[[StoreChange], bool]) -> list[StoreChange]:
        """Return all changes up to the first that is wanted, with that one."""
        received: list[StoreChange] = []
        async with asyncio.timeout(PATIENCE_SECS):
            async for change in self._changes:
                received.append(change)
                if is_wanted(change):
                    return received
        raise AssertionError(f"follow() ended by itself after {received}")

    async def until_synced(self) -> list[Stored]:
        """Return the records before Synced; all changes before it are Puts."""
        received = await self.until(lambda change: isinstance(change, Synced))
        assert all(isinstance(change, Put) for change in received[:-1]), received
        return [change.stored for change in received if isinstance(change, Put)]

    async def until_put(self, stored: Stored) -> None:
        await self.until(lambda change: change == Put(stored))

    async def until_gone(self, name: str) -> Gone:
        last = (await self.until(lambda change: isinstance(change, Gone) and change.name == name))[-1]
        assert isinstance(last, Gone)
        return last


@asynccontextmanager
async def monitored(store: Store) -> AsyncIterator[Listener]:
    changes = cast("AsyncGenerator[StoreChange, None]", store.follow())
    try:
        yield Listener(changes)
    finally:
        await changes.aclose()


class StoreSuite:
    @pytest.fixture
    def store(self, harness: StoreHarness) -> Store:
        return harness.store

    @pytest.fixture
    def event(self, harness: StoreHarness) -> Event:
        return _event(harness)

    # ------------------------------------------------------------ create

    async def test_a_new_record_is_open_and_counted_once(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """create() returns what later decisions need, and True to the caller that created the record."""
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

    async def test_the_spec_holds_what_the_event_holds(self, store: Store, harness: StoreHarness) -> None:
        """Nothing is lost and nothing is added."""
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
        """The record is unchanged: the second caller receives it and decides what to do."""
        first, _ = await store.create(event, spec_hash="first")
        changed = _event(harness, severity=Severity.CRITICAL)

        second, is_new = await store.create(changed, spec_hash="second")

        assert not is_new
        assert second == first

    async def test_of_two_concurrent_creates_one_makes_the_record(self, store: Store, event: Event) -> None:
        """Two replicas with the same finding store it once."""
        answers = await asyncio.gather(*(store.create(event, spec_hash="a") for _ in range(2)))

        assert sorted(is_new for _, is_new in answers) == [False, True]
        assert answers[0][0] == answers[1][0]

    async def test_a_record_that_can_never_be_stored_is_invalid(self, store: Store, harness: StoreHarness) -> None:
        """Invalid is about this record: the next one is stored."""
        with pytest.raises(Invalid):
            await store.create(_event(harness, title=""), spec_hash="a")

        _, is_new = await store.create(_event(harness), spec_hash="a")
        assert is_new

    # ------------------------------------------------------------ update

    async def test_an_update_replaces_the_spec(self, store: Store, harness: StoreHarness) -> None:
        """What the event does not contain any more is removed from the record, also inside details."""
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
        """For example a fix that the tool finds later."""
        stored, _ = await store.create(event, spec_hash="before")
        after = _event(harness, remediation="Upgrade", references=("https://example.test/1",))

        spec = await harness.spec_of(await store.update(after, spec_hash="after", stored=stored))

        assert (spec["remediation"], spec["references"]) == ("Upgrade", ["https://example.test/1"])

    async def test_an_update_keeps_identity_and_first_detection(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The name is made of source, clusterID and key; detectedAt is the time of the first sighting."""
        stored, _ = await store.create(event, spec_hash="before")
        later = _event(harness, detected_at="2026-02-02T00:00:00Z", title="changed")

        spec = await harness.spec_of(await store.update(later, spec_hash="after", stored=stored))

        assert (spec["source"], spec["clusterID"], spec["key"]) == (event.source, event.cluster_id, event.key)
        assert (spec["title"], spec["detectedAt"]) == ("changed", event.detected_at)

    async def test_an_update_leaves_the_status_alone(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The count and its time stay as they were."""
        stored, _ = await store.create(event, spec_hash="before")
        counted = await store.set_status(stored, Status(count=3, seen_at=SEEN_AT), now=SEEN_AT)
        status = await harness.status_of(counted)

        updated = await store.update(_event(harness, title="changed"), spec_hash="after", stored=counted)

        assert updated.count == 3
        assert await harness.status_of(updated) == status

    async def test_an_update_of_a_removed_record_is_not_found(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The caller then creates the record again."""
        stored, _ = await store.create(event, spec_hash="a")
        await harness.remove(stored)

        with pytest.raises(NotFound):
            await store.update(event, spec_hash="b", stored=stored)

    # ------------------------------------------------------------ set_status

    async def test_a_count_is_written_with_its_time(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The status changes, the spec does not."""
        stored, _ = await store.create(event, spec_hash="a")

        counted = await store.set_status(stored, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)

        status = await harness.status_of(counted)
        assert counted == replace(
            stored, count=2, last_seen=int(SEEN_AT.timestamp()), version=counted.version, size_units=counted.size_units
        )
        assert counted.version > stored.version
        assert (status["count"], status["lastSeen"], status["phase"]) == (2, "2096-03-04T05:06:07Z", "Open")

    async def test_a_resolved_record_has_the_time_and_the_reason(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """A record that is open again has no time of a resolution."""
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

    async def test_last_seen_is_never_before_first_seen(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """A tool's clock may be behind ours; an API server would refuse such a status."""
        stored, _ = await store.create(event, spec_hash="a")

        counted = await store.set_status(stored, Status(count=2, seen_at=datetime(2001, 1, 1, tzinfo=UTC)), now=SEEN_AT)

        status = await harness.status_of(counted)
        assert status["lastSeen"] == status["firstSeen"]

    async def test_a_record_names_the_report_that_holds_it(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The one of the last write; an update without a report leaves it."""
        stored, _ = await store.create(event, spec_hash="a", report=ReportRef("reports.example.com", "default", "one"))
        assert stored.report == "reports.example.com/default/one"

        updated = await store.update(event, spec_hash="b", stored=stored, report=ReportRef("reports.example.com", "default", "two"))
        assert updated.report == "reports.example.com/default/two"
        assert (await store.update(event, spec_hash="c", stored=updated)).report == updated.report

    async def test_a_count_of_a_removed_record_is_not_found(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """The caller then creates the record again."""
        stored, _ = await store.create(event, spec_hash="a")
        await harness.remove(stored)

        with pytest.raises(NotFound):
            await store.set_status(stored, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)

    async def test_a_write_that_was_made_for_an_older_version_is_a_conflict(
        self, store: Store, event: Event, harness: StoreHarness
    ) -> None:
        """A write that was given up and arrives late must not undo a newer one."""
        stored, _ = await store.create(event, spec_hash="a")
        counted = await store.set_status(stored, Status(count=3, seen_at=SEEN_AT), now=SEEN_AT)

        with pytest.raises(Conflict):
            await store.set_status(stored, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)
        with pytest.raises(Conflict):
            await store.update(event, spec_hash="b", stored=stored)

        assert (await harness.status_of(counted))["count"] == 3
        assert (await store.update(event, spec_hash="b", stored=counted)).spec_hash == "b"

    async def test_a_removed_record_can_be_created_again(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Under the same name, with a version above all versions of the old record."""
        stored, _ = await store.create(event, spec_hash="a")
        await harness.remove(stored)

        again, is_new = await store.create(event, spec_hash="a")

        assert is_new
        assert again.version > stored.version

    # ------------------------------------------------------------ follow

    async def test_an_empty_store_is_synced_at_once(self, store: Store) -> None:
        """Without records Synced comes first; nobody waits for a Put."""
        async with monitored(store) as listener:
            assert await listener.until_synced() == []

    async def test_follow_yields_what_was_stored_before_it(self, store: Store, harness: StoreHarness) -> None:
        """Each record once, as it is now, in whatever namespace it is."""
        created = [(await store.create(_event(harness, number), spec_hash="a"))[0] for number in range(3)]
        created[0] = await store.set_status(created[0], Status(count=5, seen_at=SEEN_AT), now=SEEN_AT)
        elsewhere, _ = await store.create(_event(harness, 3, resource=Resource(kind="Node", name="n")), spec_hash="a")

        async with monitored(store) as listener:
            records = await listener.until_synced()

        assert _by_name(records) == _by_name([*created, elsewhere])

    async def test_follow_yields_more_records_than_a_page_has(self, store: Store, harness: StoreHarness) -> None:
        """Synced comes after all of them, not after the first page."""
        created = await asyncio.gather(*(store.create(_event(harness, number), spec_hash="a") for number in range(MANY)))

        async with monitored(store) as listener:
            records = await listener.until_synced()

        assert _by_name(records) == _by_name([stored for stored, _ in created])

    async def test_follow_yields_every_later_change(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Our own writes included: the Put holds what the write returned."""
        async with monitored(store) as listener:
            await listener.until_synced()
            stored, _ = await store.create(event, spec_hash="a")
            await listener.until_put(stored)
            updated = await store.update(_event(harness, severity=Severity.CRITICAL), spec_hash="b", stored=stored)
            await listener.until_put(updated)
            counted = await store.set_status(updated, Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)
            await listener.until_put(counted)

    async def test_follow_yields_deletions(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """With a version above all versions of the record, so that a late Put cannot bring it back."""
        async with monitored(store) as listener:
            await listener.until_synced()
            stored, _ = await store.create(event, spec_hash="a")
            await harness.remove(stored)

            gone = await listener.until_gone(event.name)

        assert gone.version > stored.version

    async def test_follow_yields_no_record_of_another_cluster(self, store: Store, event: Event, harness: StoreHarness) -> None:
        """Two zenwatch processes may share a store; neither may change the other's records."""
        foreign = an_event(cluster_id=f"{harness.cluster_id}-2", resource=event.resource)
        await store.create(foreign, spec_hash="a")

        async with monitored(store) as listener:
            assert await listener.until_synced() == []
            await store.set_status((await store.create(foreign, spec_hash="a"))[0], Status(count=2, seen_at=SEEN_AT), now=SEEN_AT)
            mine, _ = await store.create(event, spec_hash="a")
            received = await listener.until(lambda change: change == Put(mine))

        assert [change.stored.name for change in received if isinstance(change, Put)] == [event.name]

    async def test_a_second_follow_yields_everything_again(self, store: Store, harness: StoreHarness) -> None:
        """A record that it does not yield before Synced was deleted meanwhile."""
        stays, goes = [(await store.create(_event(harness, number), spec_hash="a"))[0] for number in range(2)]
        async with monitored(store) as listener:
            await listener.until_synced()
        await harness.remove(goes)
        comes, _ = await store.create(_event(harness, 2), spec_hash="a")

        async with monitored(store) as listener:
            records = await listener.until_synced()

        assert _by_name(records) == _by_name([stays, comes])

    async def test_several_followers_receive_the_same(self, store: Store, event: Event) -> None:
        """None takes a change away from another."""
        async with monitored(store) as one, monitored(store) as other:
            await one.until_synced()
            await other.until_synced()
            stored, _ = await store.create(event, spec_hash="a")

            await one.until_put(stored)
            await other.until_put(stored)


class NamespacedStoreSuite:
    """What a store promises as well if its records are in namespaces, which are created and deleted."""

    @pytest.fixture
    def store(self, harness: NamespacedStoreHarness) -> Store:
        return harness.store

    async def test_a_record_without_a_namespace_goes_to_the_own_one(self, store: Store, harness: NamespacedStoreHarness) -> None:
        """Every record has a namespace, also the record of a node or a cluster role."""
        stored, is_new = await store.create(_event(harness, resource=Resource(kind="ClusterRole", name="admin")), spec_hash="a")

        assert (stored.namespace, is_new) == (harness.own_namespace, True)

    async def test_a_missing_namespace_falls_back_to_the_own_one(self, store: Store, harness: NamespacedStoreHarness) -> None:
        """The resource was deleted with its namespace; its finding is stored all the same, once."""
        event = _event(harness, resource=Resource("v1", "Pod", "nginx", harness.missing_namespace))

        first, is_new = await store.create(event, spec_hash="a")
        again, is_new_again = await store.create(event, spec_hash="a")

        assert (first.namespace, is_new) == (harness.own_namespace, True)
        assert (again, is_new_again) == (first, False)

    async def test_a_terminating_namespace_falls_back_to_the_own_one(self, store: Store, harness: NamespacedStoreHarness) -> None:
        """It refuses new records although it still exists."""
        going = await harness.terminating_namespace()

        stored, is_new = await store.create(_event(harness, resource=Resource("v1", "Pod", "nginx", going)), spec_hash="a")

        assert (stored.namespace, is_new) == (harness.own_namespace, True)


def _event(harness: StoreHarness, number: int = 1, **changes: Any) -> Event:
    pod = Resource("v1", "Pod", "nginx", harness.namespace)
    key = f"{harness.namespace}/Pod/nginx/CVE-2026-{number}"
    return an_event(**{"cluster_id": harness.cluster_id, "key": key, "resource": pod} | changes)


def _by_name(records: list[Stored]) -> dict[str, Stored]:
    assert len({stored.name for stored in records}) == len(records), "a record was yielded twice"
    return {stored.name: stored for stored in records}
