"""zenwatch/kube/owners.py: who runs a Pod, with few requests, and never a guess."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fakes.api_server import FakeApiServer, body, hangs, page, raw, status
from tests.support.fakes.clock import FakeClock
from zenwatch.errors import Expired, Transient
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import LIST_METADATA, ONE_METADATA
from zenwatch.kube.owners import LISTED_SECS, MISSING_KNOWN_SECS, OWNER_KNOWN_SECS, REFUSED_SECS, ControllerFinder
from zenwatch.model.finding import Resource

PODS = "/api/v1/namespaces/shop/pods"
REPLICA_SETS = "/apis/apps/v1/namespaces/shop/replicasets"
JOBS = "/apis/batch/v1/namespaces/shop/jobs"

POD = Resource("v1", "Pod", "web-5f4d8-x2x7q", "shop")
REPLICA_SET = Resource("apps/v1", "ReplicaSet", "web-5f4d8", "shop")
JOB = Resource("batch/v1", "Job", "nightly-1", "shop")
DEPLOYMENT = Resource("apps/v1", "Deployment", "web", "shop")
CRON_JOB = Resource("batch/v1", "CronJob", "nightly", "shop")


def owned(name: str, owner: Resource | None = None, **changes: Any) -> dict[str, Any]:
    """The metadata of an object, as the API server sends it without the rest."""
    reference = {"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": "1", "controller": True} if owner else {}
    references = [reference | changes] if owner else []
    return {"kind": "PartialObjectMetadata", "metadata": {"name": name, "namespace": "shop", "ownerReferences": references}}


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[KubeClient]:
    client = server.client()
    yield client
    await client.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def owners(client: KubeClient, clock: FakeClock) -> ControllerFinder:
    return ControllerFinder(client, clock=clock)


def paths(server: FakeApiServer) -> list[str]:
    return [request.path for request in server.seen]


# ---------------------------------------------------------------- who owns what


async def test_a_pod_is_its_deployments(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Through the ReplicaSet, of which the next rollout makes another."""
    server.answers("GET", PODS, page(owned(POD.name, REPLICA_SET)))
    server.answers("GET", REPLICA_SETS, page(owned(REPLICA_SET.name, DEPLOYMENT)))

    assert await owners.controller_of(POD) == DEPLOYMENT
    assert await owners.controller_of(REPLICA_SET) == DEPLOYMENT
    assert paths(server) == [PODS, REPLICA_SETS]


async def test_a_pod_of_a_job_is_the_cron_jobs(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Each run makes a Job with a name of its own."""
    server.answers("GET", PODS, page(owned(POD.name, JOB)))
    server.answers("GET", JOBS, page(owned(JOB.name, CRON_JOB)))

    assert await owners.controller_of(POD) == CRON_JOB


@pytest.mark.parametrize(
    "owner",
    [
        Resource("apps/v1", "StatefulSet", "db", "shop"),
        Resource("apps/v1", "DaemonSet", "agent", "shop"),
        Resource("v1", "ReplicationController", "old", "shop"),
        Resource("argoproj.io/v1alpha1", "Rollout", "web", "shop"),
        Resource("batch.volcano.sh/v1alpha1", "Job", "training", "shop"),
    ],
    ids=lambda owner: owner.kind,
)
async def test_the_walk_ends_at_what_is_no_replica(server: FakeApiServer, owners: ControllerFinder, owner: Resource) -> None:
    """Whoever owns it in turn is an operator, not what a person would mend. A kind of another group is another kind."""
    server.answers("GET", PODS, page(owned(POD.name, owner)))

    assert await owners.controller_of(POD) == owner
    assert paths(server) == [PODS]


@pytest.mark.parametrize(
    "resource",
    [
        DEPLOYMENT,
        CRON_JOB,
        Resource("v1", "Node", "worker-1"),
        Resource("batch.volcano.sh/v1alpha1", "Job", "training", "shop"),
        Resource("v1", "Pod", "", "shop"),
        Resource("v1", "Pod", "web", ""),
        Resource(namespace="shop"),
    ],
)
async def test_what_is_no_replica_is_not_asked_about(server: FakeApiServer, owners: ControllerFinder, resource: Resource) -> None:
    """It is its own controller; nor can one ask about what has no name or no namespace."""
    assert await owners.controller_of(resource) == resource
    assert server.seen == []


async def test_a_tool_that_does_not_say_the_version_is_understood(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Many name a kind only."""
    server.answers("GET", REPLICA_SETS, page(owned(REPLICA_SET.name, DEPLOYMENT)))

    assert await owners.controller_of(Resource("", "ReplicaSet", REPLICA_SET.name, "shop")) == DEPLOYMENT


@pytest.mark.parametrize(
    "metadata",
    [
        owned(POD.name),
        {"metadata": {"name": POD.name}},
        owned(POD.name, Resource("v1", "Node", "worker-1")),
        owned(POD.name, DEPLOYMENT, controller=False),
        owned(POD.name, DEPLOYMENT, controller=None),
    ],
    ids=["none", "no list", "node", "not controlling", "absent"],
)
async def test_a_pod_without_a_controller_is_its_own(server: FakeApiServer, owners: ControllerFinder, metadata: dict[str, Any]) -> None:
    """Made by hand, or by the kubelet of a node (static); and an owner that only collects garbage runs nothing."""
    server.answers("GET", PODS, page(metadata))

    assert await owners.controller_of(POD) == POD
    assert await owners.controller_of(POD) == POD
    assert paths(server) == [PODS]


async def test_owners_in_a_circle_end_somewhere(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Nobody forbids them."""
    other = Resource("batch/v1", "Job", "nightly-2", "shop")
    server.answers("GET", JOBS, page(owned(JOB.name, other), owned(other.name, JOB)))

    assert await owners.controller_of(JOB) in (JOB, other)
    assert len(server.seen) == 1


# ---------------------------------------------------------------- what it costs


async def test_only_metadata_is_asked_for(server: FakeApiServer, owners: ControllerFinder) -> None:
    """The specification of a Pod has its environment, and is thirty times as large."""
    server.answers("GET", PODS, page())
    server.answers("GET", f"{PODS}/{POD.name}", body(owned(POD.name)))

    await owners.controller_of(POD)

    assert [request.headers["Accept"] for request in server.seen] == [LIST_METADATA, ONE_METADATA]


async def test_a_start_costs_a_request_per_page_not_per_report(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Pages of 500; thousands of reports ask at once."""
    names = [f"web-{number}" for number in range(1200)]
    pods = [owned(name, Resource("apps/v1", "StatefulSet", "web", "shop")) for name in names]
    server.answers("GET", PODS, page(*pods[:500], more="b"), page(*pods[500:1000], more="c"), page(*pods[1000:]))

    for name in names:
        assert (await owners.controller_of(Resource("v1", "Pod", name, "shop"))).kind == "StatefulSet"

    assert [dict(request.query) for request in server.seen] == [
        {"limit": "500"},
        {"limit": "500", "continue": "b"},
        {"limit": "500", "continue": "c"},
    ]


async def test_who_asks_at_the_same_time_shares_the_answer(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Reports of eight kinds are read beside each other, all about the same Pods."""
    server.answers("GET", PODS, page(owned(POD.name, REPLICA_SET)))
    server.answers("GET", REPLICA_SETS, page())
    server.answers("GET", f"{REPLICA_SETS}/{REPLICA_SET.name}", body(owned(REPLICA_SET.name, DEPLOYMENT)))

    found = await asyncio.gather(*(owners.controller_of(POD) for _ in range(20)))

    assert set(found) == {DEPLOYMENT}
    assert len(server.seen) == 3
    assert len(owners._locks) == 0


async def test_namespaces_do_not_wait_for_each_other(server: FakeApiServer, owners: ControllerFinder) -> None:
    """One slow list holds back only its own reports."""
    elsewhere = Resource("v1", "Pod", "web", "elsewhere")
    server.answers("GET", PODS, hangs())
    server.answers("GET", "/api/v1/namespaces/elsewhere/pods", page(owned("web", DEPLOYMENT)))

    waiting = asyncio.ensure_future(owners.controller_of(POD))
    await server.until_seen(1)

    assert (await owners.controller_of(elsewhere)).name == "web"
    waiting.cancel()


async def test_what_a_rollout_brings_is_read_one_by_one(server: FakeApiServer, owners: ControllerFinder, clock: FakeClock) -> None:
    """For a few minutes; after a silence the namespace is listed again."""
    server.answers("GET", PODS, page(), page(owned("web-3", DEPLOYMENT)))
    server.answers("GET", f"{PODS}/web-1", body(owned("web-1", DEPLOYMENT)))
    server.answers("GET", f"{PODS}/web-2", body(owned("web-2", DEPLOYMENT)))

    for name, secs in (("web-1", LISTED_SECS - 1), ("web-2", 2), ("web-3", 0)):
        assert await owners.controller_of(Resource("v1", "Pod", name, "shop")) == DEPLOYMENT
        clock.advance(secs=secs)

    assert paths(server) == [PODS, f"{PODS}/web-1", f"{PODS}/web-2", PODS]


# ---------------------------------------------------------------- what is remembered


async def test_an_owner_is_known_after_its_replica_is_gone(server: FakeApiServer, owners: ControllerFinder, clock: FakeClock) -> None:
    """A report outlives its ReplicaSet, and must not become news when it does."""
    server.answers("GET", REPLICA_SETS, page(owned(REPLICA_SET.name, DEPLOYMENT)))
    assert await owners.controller_of(REPLICA_SET) == DEPLOYMENT

    clock.advance(secs=OWNER_KNOWN_SECS - 1)

    assert await owners.controller_of(REPLICA_SET) == DEPLOYMENT
    assert len(server.seen) == 1


async def test_an_owner_is_not_known_for_ever(server: FakeApiServer, owners: ControllerFinder, clock: FakeClock) -> None:
    """A name can be given again."""
    server.answers("GET", PODS, page(owned(POD.name, DEPLOYMENT)), page(owned(POD.name, CRON_JOB)))
    assert await owners.controller_of(POD) == DEPLOYMENT

    clock.advance(secs=OWNER_KNOWN_SECS + 1)

    assert await owners.controller_of(POD) == CRON_JOB


async def test_what_is_not_there_is_soon_asked_for_again(server: FakeApiServer, owners: ControllerFinder, clock: FakeClock) -> None:
    """As far as anybody can know it is its own controller; it may only be young."""
    server.answers("GET", PODS, page())
    server.answers("GET", f"{PODS}/{POD.name}", status(404), body(owned(POD.name, DEPLOYMENT)))

    assert await owners.controller_of(POD) == POD
    clock.advance(secs=MISSING_KNOWN_SECS - 1)
    assert await owners.controller_of(POD) == POD
    assert len(server.seen) == 2

    clock.advance(secs=2)
    assert await owners.controller_of(POD) == DEPLOYMENT


async def test_a_replica_set_that_is_gone_stands_for_its_pods(server: FakeApiServer, owners: ControllerFinder) -> None:
    """So far the walk is sure."""
    server.answers("GET", PODS, page(owned(POD.name, REPLICA_SET)))

    assert await owners.controller_of(POD) == REPLICA_SET


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("answer", [status(503), status(429, retry_after="7"), raw(b"no JSON"), status(410)])
async def test_unknown_is_not_without_an_owner(server: FakeApiServer, owners: ControllerFinder, answer: Any) -> None:
    """The caller tries again, from the list on; and a page that grew too old is no reason to read the reports anew (Expired)."""
    server.answers("GET", PODS, page(owned("other"), more="b"), answer, page(owned(POD.name, DEPLOYMENT)))

    with pytest.raises(Transient) as raised:
        await owners.controller_of(POD)

    assert not isinstance(raised.value, Expired)
    assert await owners.controller_of(POD) == DEPLOYMENT


async def test_a_single_read_that_fails_is_logged_too(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Nothing is remembered of it."""
    server.answers("GET", PODS, page())
    server.answers("GET", f"{PODS}/{POD.name}", status(500), body(owned(POD.name, DEPLOYMENT)))

    with pytest.raises(Transient):
        await owners.controller_of(POD)

    assert await owners.controller_of(POD) == DEPLOYMENT


async def test_a_missing_permission_costs_the_grouping_only(server: FakeApiServer, owners: ControllerFinder, clock: FakeClock) -> None:
    """It is logged once and tried again now and then: it may be granted."""
    elsewhere = Resource("v1", "Pod", "web", "elsewhere")
    server.answers("GET", PODS, status(403), page(owned(POD.name, DEPLOYMENT)))
    server.answers("GET", "/api/v1/namespaces/elsewhere/pods", status(403))

    with capture_logs() as lines:
        for pod in (POD, POD, elsewhere, elsewhere):
            assert await owners.controller_of(pod) == pod
        clock.advance(secs=REFUSED_SECS - 1)
        assert await owners.controller_of(POD) == POD

    assert [line["error"] for line in lines if line["event"] == "permission_missing"] == ["missing permission: list pods in namespace shop"]
    assert len(server.seen) == 2
    clock.advance(secs=2)
    assert await owners.controller_of(POD) == DEPLOYMENT


async def test_a_refusal_in_one_namespace_is_none_in_another(server: FakeApiServer, owners: ControllerFinder) -> None:
    """A Role is of one namespace. Else findings would go to and fro between Pod and Deployment, with who asked first."""
    server.answers("GET", "/api/v1/namespaces/elsewhere/pods", status(403))
    server.answers("GET", PODS, page(owned(POD.name, DEPLOYMENT)))

    await owners.controller_of(Resource("v1", "Pod", "web", "elsewhere"))

    assert await owners.controller_of(POD) == DEPLOYMENT


async def test_a_permission_that_was_taken_away_does_not_take_what_is_known(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Its records stay where they are."""
    server.answers("GET", PODS, page(owned(POD.name, DEPLOYMENT)))
    server.answers("GET", f"{PODS}/other", status(403))
    assert await owners.controller_of(POD) == DEPLOYMENT

    other = Resource("v1", "Pod", "other", "shop")

    assert await owners.controller_of(other) == other
    assert await owners.controller_of(POD) == DEPLOYMENT


async def test_a_list_that_cannot_be_had_is_replaced_by_single_reads(server: FakeApiServer, owners: ControllerFinder) -> None:
    """Annotations may make it larger than we take."""
    server.answers("GET", PODS, status(400))
    server.answers("GET", f"{PODS}/{POD.name}", body(owned(POD.name, DEPLOYMENT)))

    assert await owners.controller_of(POD) == DEPLOYMENT


@pytest.mark.parametrize(
    "resource", [Resource("v1", "Pod", "..", "shop"), Resource("v1", "Pod", "a/../b", ".."), Resource("v1", "Pod", "ä", "shop")]
)
async def test_what_is_no_name_is_its_own_controller(server: FakeApiServer, owners: ControllerFinder, resource: Resource) -> None:
    """Tools write names."""
    assert await owners.controller_of(resource) == resource
