"""zenwatch/store/crd/store.py: responses that a real API server does not send on demand; see also tests/contract/store_suite.py."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.support.builders.findings import an_event
from tests.support.fakes.api_server import Answer, FakeApiServer, body, hangs, line, status, watch
from zenwatch.contract import Put, Synced
from zenwatch.errors import Forbidden, Invalid, Transient
from zenwatch.kube.records import object_of
from zenwatch.store.crd.store import CrdStore

API = "/apis/zen.kube-zen.io/v1"
IN_DEFAULT, IN_OWN = f"{API}/namespaces/default/zenagentevents", f"{API}/namespaces/zenwatch/zenagentevents"
NO_NAMESPACE = status(404, reason="NotFound", message='namespaces "x" not found', details={"kind": "namespaces", "name": "x"})
NOT_SERVED = status(404, message="404 page not found")
GOING = status(403, reason="Forbidden", message="it is being terminated", details={"causes": [{"reason": "NamespaceTerminating"}]})
THERE = object_of(an_event(), namespace="default", hash_of_spec="a")
THERE["metadata"]["resourceVersion"] = "7"


@asynccontextmanager
async def _store_on(*, namespaces: Sequence[str] = (), **answers: Answer) -> AsyncIterator[CrdStore]:
    """default, own: the responses to a create in these namespaces. get: the response to a get in default. namespaces: of the CrdStore."""
    async with FakeApiServer() as server:
        for name, (method, path) in {"default": ("POST", IN_DEFAULT), "own": ("POST", IN_OWN)}.items():
            if name in answers:
                server.answers(method, path, answers[name])
        if "get" in answers:
            server.answers("GET", f"{IN_DEFAULT}/{an_event().name}", answers["get"])
        client = server.client()
        try:
            yield CrdStore(client, cluster_ids=["local"], own_namespace="zenwatch", namespaces=namespaces)
        finally:
            await client.close()


async def test_a_kind_that_is_not_served_may_come() -> None:
    """Somebody forgot the CRDs: the error names the command that applies them, and the write is tried again."""
    async with _store_on(default=NOT_SERVED) as store:
        with pytest.raises(Transient, match=r"zenwatch crds \| kubectl apply"):
            await store.create(an_event(), spec_hash="a")


@pytest.mark.parametrize("own", [NO_NAMESPACE, GOING], ids=["missing", "terminating"])
async def test_an_own_namespace_that_cannot_take_records_is_a_passing_failure(own: Answer) -> None:
    """No record is rejected: once the namespace is created again, the records are written."""
    async with _store_on(default=NO_NAMESPACE, own=own) as store:
        with pytest.raises(Transient, match="own namespace"):
            await store.create(an_event(), spec_hash="a")


async def test_a_record_that_is_there_is_read() -> None:
    """409: another replica, or we before a restart, already stored it."""
    async with _store_on(default=status(409, reason="AlreadyExists"), get=body(THERE)) as store:
        stored, is_new = await store.create(an_event(), spec_hash="b")

    assert not is_new
    assert (stored.name, stored.namespace, stored.spec_hash, stored.version) == (an_event().name, "default", "a", 7)
    assert (stored.phase, stored.count) == ("Open", 1)


async def test_a_record_that_vanishes_between_409_and_get_is_tried_again() -> None:
    """The CRD is not missing, so the log must not advise to apply it."""
    gone = status(404, reason="NotFound", message="not found", details={"group": "zen.kube-zen.io", "kind": "zenagentevents"})
    async with _store_on(default=status(409, reason="AlreadyExists"), get=gone) as store:
        with pytest.raises(Transient) as raised:
            await store.create(an_event(), spec_hash="a")

    assert "apply the CRDs" not in str(raised.value)


async def test_a_missing_permission_is_named() -> None:
    """As a Role would grant it."""
    async with _store_on(default=status(403, reason="Forbidden")) as store:
        with pytest.raises(Forbidden, match=r"create zenagentevents\.zen\.kube-zen\.io in namespace default"):
            await store.create(an_event(), spec_hash="a")


async def test_a_record_against_the_schema_is_invalid() -> None:
    """It can never be stored."""
    async with _store_on(default=status(422, reason="Invalid", message="spec.title: too long")) as store:
        with pytest.raises(Invalid, match="too long"):
            await store.create(an_event(), spec_hash="a")


# ---------------------------------------------------------------- confined to namespaces


@pytest.mark.parametrize(
    ("namespaces", "parts"),
    [((), ("",)), (("shop", "default"), ("shop", "default", "zenwatch")), (("zenwatch", "shop", "shop"), ("zenwatch", "shop"))],
    ids=["everywhere", "and the own one", "each once"],
)
async def test_what_has_to_be_followed_is_where_records_may_lie(namespaces: Sequence[str], parts: Sequence[str]) -> None:
    """The allowed namespaces and our own; without a limit, one part is the whole cluster."""
    async with _store_on(namespaces=namespaces) as store:
        assert tuple(store.parts) == parts


@pytest.mark.parametrize(("namespaces", "lies_in"), [(("shop",), "zenwatch"), (("shop", "default"), "default"), ((), "default")])
async def test_a_record_of_a_namespace_where_we_may_not_write_goes_to_the_own_one(namespaces: Sequence[str], lies_in: str) -> None:
    """It does not try what would be refused; a report that is read may be about a resource in another namespace."""
    there = body(THERE | {"metadata": THERE["metadata"] | {"namespace": lies_in}}, code=201)
    async with _store_on(namespaces=namespaces, **{"own" if lies_in == "zenwatch" else "default": there}) as store:
        stored, is_new = await store.create(an_event(), spec_hash="a")

    assert (stored.namespace, is_new) == (lies_in, True)


async def test_a_part_is_listed_and_watched_in_its_namespace() -> None:
    """A Role there is enough."""
    table = body({"metadata": {"resourceVersion": "5"}, "columnDefinitions": [{"name": "Phase"}, {"name": "Count"}], "rows": []})
    record = THERE | {"metadata": THERE["metadata"] | {"resourceVersion": "9"}}
    async with FakeApiServer() as server:
        server.answers("GET", IN_DEFAULT, table, watch(line("ADDED", record)))
        client = server.client()
        store = CrdStore(client, cluster_ids=["local"], own_namespace="zenwatch", namespaces=("default",))
        changes = []
        try:
            async with asyncio.timeout(2):
                async for change in store.follow("default"):
                    changes.append(change)
                    if isinstance(change, Put):
                        break
        finally:
            await client.close()

    assert [type(change) for change in changes] == [Synced, Put]
    assert {seen.path for seen in server.seen} == {IN_DEFAULT}


# ---------------------------------------------------------------- GET /readyz


@pytest.mark.parametrize(
    ("served", "is_well", "lines"),
    [
        (body({"resources": [{"name": "zenagentevents"}]}), True, ["apiserver ok", "crds ok"]),
        (
            body({"resources": []}),
            False,
            ["apiserver ok", "crds fail: zenagentevents is not served; apply them with `zenwatch crds | kubectl apply -f -`"],
        ),
        (status(503, message="not now"), False, ["apiserver fails: 503: not now", "crds unknown"]),
    ],
)
async def test_the_store_can_take_records_where_the_api_server_serves_them(served: Answer, *, is_well: bool, lines: list[str]) -> None:
    """Each part has a line of its own."""
    async with FakeApiServer() as server:
        server.answers("GET", API, served)
        client = server.client()
        store = CrdStore(client, cluster_ids=["local"], own_namespace="zenwatch")
        assert await store.check() == (is_well, lines)
        await client.close()


async def test_an_api_server_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe has a timeout of its own."""
    monkeypatch.setattr("zenwatch.store.crd.store.CHECK_TIMEOUT_SECS", 0.01)
    async with FakeApiServer() as server:
        server.answers("GET", API, hangs())
        client = server.client()
        store = CrdStore(client, cluster_ids=["local"], own_namespace="zenwatch")
        assert await store.check() == (False, ["apiserver fails: no answer within 0.01 s", "crds unknown"])
        await client.close()
