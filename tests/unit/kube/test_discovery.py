"""zenwatch/kube/discovery.py: what an API server says of itself."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.support.fakes.api_server import FakeApiServer, body, cuts, hangs, raw, status
from zenwatch.errors import Forbidden, NotFound, Transient
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import find_kind, own_user_name, served_plurals, server_time
from zenwatch.sdk.watcher import ApiResource


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer() as server:
        yield server


@pytest.fixture
async def client(server: FakeApiServer) -> AsyncIterator[KubeClient]:
    client = server.client()
    yield client
    await client.close()


# ---------------------------------------------------------------- which kinds are served


@pytest.mark.parametrize(("group", "path"), [("", "/api/v1"), ("aquasecurity.github.io", "/apis/aquasecurity.github.io/v1")])
async def test_the_kinds_of_a_group_are_listed_by_their_plurals(group: str, path: str, server: FakeApiServer, client: KubeClient) -> None:
    """The core group has a path of its own; a group that nobody serves any more says null, or nothing at all."""
    answer = body({"resources": [{"name": "pods", "kind": "Pod"}, {"name": "pods/log", "kind": "Pod"}]})
    server.answers("GET", path, answer, body({"resources": None}), body({}))

    assert "pods" in await served_plurals(client, group, "v1")
    assert [await served_plurals(client, group, "v1") for _ in range(2)] == [frozenset(), frozenset()]
    assert {seen.path for seen in server.seen} == {path}


async def test_a_group_that_is_not_known_serves_nothing(client: KubeClient) -> None:
    """404 is the answer to the question, not a failure."""
    assert await served_plurals(client, "aquasecurity.github.io", "v1alpha1") == frozenset()


async def test_a_refused_discovery_names_its_path(server: FakeApiServer, client: KubeClient) -> None:
    """What a ClusterRole has to grant is a path, not a kind."""
    server.answers("GET", "/apis/aquasecurity.github.io/v1alpha1", status(403))

    with pytest.raises(Forbidden, match=r"^missing permission: get /apis/aquasecurity\.github\.io/v1alpha1$"):
        await served_plurals(client, "aquasecurity.github.io", "v1alpha1")


@pytest.mark.parametrize("content", [b"[]", b'{"resources": 5}', b'{"resources": [1]}'])
async def test_an_answer_that_is_no_discovery_may_be_better_next_time(content: bytes, server: FakeApiServer, client: KubeClient) -> None:
    """Whoever answered was not the API server; nothing is concluded from it."""
    server.answers("GET", "/api/v1", raw(content))

    with pytest.raises(Transient):
        await served_plurals(client, "", "v1")


# ---------------------------------------------------------------- what time it is


async def test_the_api_servers_clock_is_read_off_its_answers(server: FakeApiServer, client: KubeClient) -> None:
    """In UTC, to the second."""
    server.answers("GET", "/apis/authentication.k8s.io/v1", body({}, headers={"Date": "Thu, 01 Jan 2026 12:00:00 GMT"}))

    assert await server_time(client) == datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_a_clock_that_is_not_shown_may_be_shown_next_time(server: FakeApiServer, client: KubeClient) -> None:
    """An answer that breaks off, a date that is none, and no answer at all."""
    path = "/apis/authentication.k8s.io/v1"
    # The HTTP library tries once more by itself.
    server.answers("GET", path, cuts(), cuts(), body({}, headers={"Date": "soon"}), hangs())
    impatient = server.client(timeout_secs=0.05)

    for asked in (client, client, impatient):
        with pytest.raises(Transient):
            await server_time(asked)
    await impatient.close()


# ---------------------------------------------------------------- which kind, and who asks


async def test_a_kind_is_found_by_its_name_and_not_by_a_subresource(server: FakeApiServer, client: KubeClient) -> None:
    """pods/log has the kind Pod as well."""
    kinds = [{"name": "pods/log", "kind": "Pod", "namespaced": True}, {"name": "pods", "kind": "Pod", "namespaced": True}]
    server.answers("GET", "/api/v1", *[body({"resources": kinds})] * 2)

    assert await find_kind(client, "", "v1", "Pod") == ApiResource("", "v1", "pods", "Pod")
    assert await find_kind(client, "", "v1", "Deplyoment") is None


async def test_the_api_server_knows_us_by_a_user_name(server: FakeApiServer, client: KubeClient) -> None:
    """Older than 1.28, it does not serve the question."""
    answer = body({"status": {"userInfo": {"username": "system:serviceaccount:zenwatch:zenwatch"}}})
    server.answers("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", answer)

    assert await own_user_name(client) == "system:serviceaccount:zenwatch:zenwatch"
    with pytest.raises(NotFound):
        await own_user_name(client)
