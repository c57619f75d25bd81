"""zenwatch/kube/lease.py against scripted answers; tests/cluster/test_lease.py has the real API server."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from structlog.testing import capture_logs

from tests.support.fakes.api_server import FakeApiServer, body, status
from tests.support.fakes.clock import FakeClock
from tests.support.tasks import background, until
from zenwatch.kube.lease import LEASE_SECS, TRIES_PER_LEASE, Lease

LEASES = "/apis/coordination.k8s.io/v1/namespaces/zenwatch/leases"
EVERY_SECS = LEASE_SECS / TRIES_PER_LEASE


def a_lease(holder: str, *, version: str = "1") -> Mapping[str, Any]:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": 15}
    return {"metadata": {"name": "zenwatch-prod-eu", "resourceVersion": version}, "spec": spec}


class Work:
    def __init__(self) -> None:
        self.begun = 0

    async def begin(self) -> None:
        self.begun += 1


@asynccontextmanager
async def holding(server: FakeApiServer, clock: FakeClock, work: Work) -> AsyncIterator[Lease]:
    client = server.client()
    lease = Lease(client, cluster_id="Prod.EU", namespace="zenwatch", clock=clock)
    async with background(lambda: lease.hold(work.begin)):
        yield lease
    await client.close()


async def try_times(clock: FakeClock, times: int) -> None:
    for tries in range(1, times + 1):
        await until(lambda tries=tries: len(clock.waits) == tries)  # type: ignore[misc]
        clock.advance(secs=EVERY_SECS)


async def test_a_lease_that_nobody_renews_is_taken_after_its_duration() -> None:
    """Seen from here: a renewal at the last moment counts, and no clock of another machine does."""
    clock, work = FakeClock(), Work()
    async with FakeApiServer() as server:
        path = f"{LEASES}/zenwatch-prod-eu"
        server.answers("GET", path, *[body(a_lease("other"))] * 4, *[body(a_lease("other", version="2"))] * 7)
        server.answers("PUT", path, body(a_lease("me", version="3")))
        with capture_logs() as lines:
            async with holding(server, clock, work):
                await try_times(clock, 10)
                await until(lambda: work.begun > 0)
        puts = [seen for seen in server.seen if seen.method == "PUT"]

    assert [line["reason"] for line in lines] == ["other works on this cluster"]
    assert len(puts) == 1
    assert len(server.seen) == 4 + 7 + 1
    assert (puts[0].body["metadata"]["resourceVersion"], puts[0].body["spec"]["leaseTransitions"]) == ("2", 1)


async def test_while_the_api_server_is_away_it_waits() -> None:
    """Whoever works on the cluster, nobody knows; and nothing could be written."""
    clock, work = FakeClock(), Work()
    async with FakeApiServer() as server:
        server.answers("GET", f"{LEASES}/zenwatch-prod-eu", status(503), status(404))
        server.answers("POST", LEASES, body(a_lease("me")))
        with capture_logs():
            async with holding(server, clock, work) as lease:
                await until(lambda: len(clock.waits) == 1)
                waited_for, begun_while_away = lease.waits_for, work.begun
                clock.advance(secs=EVERY_SECS)
                await until(lambda: work.begun > 0)

    assert waited_for.startswith("the API server does not say who works on this cluster: 503")
    assert begun_while_away == 0
    assert lease.waits_for == ""


async def test_a_process_that_loses_its_lease_works_on_and_says_so() -> None:
    """Work is begun once. The warning names who works beside it."""
    clock, work = FakeClock(), Work()
    async with FakeApiServer() as server:
        path = f"{LEASES}/zenwatch-prod-eu"
        server.answers("GET", path, body(a_lease("")), *[body(a_lease("other"))] * 2, body(a_lease("")))
        server.answers("PUT", path, body(a_lease("me")), status(409, reason="Conflict"))
        with capture_logs() as lines:
            async with holding(server, clock, work) as lease:
                await try_times(clock, 4)

    assert [line["reason"] for line in lines][:2] == [
        "other works on this cluster",
        "another process works on this cluster",
    ]
    assert {line["state"] for line in lines} == {"works all the same"}
    assert (work.begun, lease.waits_for) == (1, "")
