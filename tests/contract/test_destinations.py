"""Every contract.Destination keeps the promise."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.contract.destination_suite import DestinationSuite
from tests.support.fakes.api_server import FakeApiServer, body
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.destination import ListDestination
from tests.support.tasks import until
from zenwatch.contract import RecordChange
from zenwatch.deliver.kube_events import KubeEventAnnouncer
from zenwatch.errors import Transient
from zenwatch.runtime.supervise import Supervisor

PODS, NGINX, EVENTS = "/api/v1", "/api/v1/namespaces/default/pods/nginx", "/api/v1/namespaces/default/events"


@dataclass
class ListHarness:
    destination: ListDestination = field(default_factory=ListDestination)
    can_fail: bool = True

    async def arrived(self) -> Sequence[str]:
        return [change.after.name for change in self.destination.delivered if change.after is not None]

    def fail_once(self) -> None:
        self.destination.fail_next(Transient("not now"))


class TestListDestination(DestinationSuite):
    @pytest.fixture
    def harness(self) -> ListHarness:
        return ListHarness()


class CountedAnnouncer(KubeEventAnnouncer):
    """It knows how many changes it was given."""

    given = 0

    async def deliver(self, changes: Sequence[RecordChange]) -> None:
        self.given += len(changes)
        await super().deliver(changes)


@dataclass
class AnnouncerHarness:
    server: FakeApiServer
    destination: CountedAnnouncer
    can_fail: bool = False

    async def arrived(self) -> Sequence[str]:
        """The Kubernetes Events that were created, by the record that each names."""
        await self.destination.start()
        await until(lambda: len(self._created()) == self.destination.given)
        await self.destination.stop()
        return [name.partition(".")[0] for name in self._created()]

    def fail_once(self) -> None:
        raise NotImplementedError

    def _created(self) -> list[str]:
        return [seen.body["metadata"]["name"] for seen in self.server.seen if seen.method == "POST"]


class TestKubeEventAnnouncer(DestinationSuite):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[AnnouncerHarness]:
        async with FakeApiServer() as server:
            server.answers("GET", PODS, *[body({"resources": [{"name": "pods", "kind": "Pod", "namespaced": True}]})] * 9)
            server.answers("GET", NGINX, *[body({"metadata": {"name": "nginx", "namespace": "default", "uid": "1-2-3"}})] * 9)
            server.answers("POST", EVENTS, *[body({}, code=201)] * 9)
            client = server.client(timeout_secs=5)
            yield AnnouncerHarness(server, CountedAnnouncer(client, Supervisor(), clock=FakeClock(skips_waits=True)))
            await client.close()
