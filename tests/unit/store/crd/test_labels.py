"""zenwatch/store/crd/labels.py: labels that somebody changed; tests/cluster/test_edits.py has the real API server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from structlog.testing import capture_logs

from tests.support.builders.findings import an_event
from tests.support.fakes.api_server import FakeApiServer, body, status
from zenwatch.kube.records import object_of
from zenwatch.model.record import spec_hash
from zenwatch.store.crd.labels import Labels

LIST = "/apis/zen.kube-zen.io/v1/zenagentevents"
NOTHING: dict[str, Any] = {"metadata": {}, "items": []}
OLD_SERVER = status(400, reason="BadRequest", message="field label not supported: spec.clusterID")


def a_record(**changes: Any) -> dict[str, Any]:
    event = an_event(**changes)
    record = object_of(event, namespace="default", hash_of_spec=spec_hash(event))
    record["metadata"] |= {"resourceVersion": "7", "labels": {"team": "shop"}}
    plain: dict[str, Any] = orjson.loads(orjson.dumps(record))
    return plain


def path_of(record: dict[str, Any]) -> str:
    return f"/apis/zen.kube-zen.io/v1/namespaces/default/zenagentevents/{record['metadata']['name']}"


@asynccontextmanager
async def labels_on(server: FakeApiServer) -> AsyncIterator[Labels]:
    client = server.client()
    try:
        yield Labels(client, ["local"], ("",))
    finally:
        await client.close()


async def test_only_records_whose_name_is_made_of_their_content_are_ours() -> None:
    """Another program may store records of the same cluster: with our labels zenwatch would delete them."""
    ours, foreign = a_record(), a_record(key="other", name="made-by-hand")
    async with FakeApiServer() as server, labels_on(server) as labels:
        server.answers("GET", LIST, body({"metadata": {}, "items": [ours, foreign]}), body(NOTHING))
        server.answers("PATCH", path_of(ours), body(ours))

        assert await labels.mend() == 1

    [patch] = [request for request in server.seen if request.method == "PATCH"]
    assert "team" not in patch.body["metadata"]["labels"]


async def test_without_field_selectors_records_without_labels_are_found_all_the_same() -> None:
    """Kubernetes selects fields of custom resources from 1.31 on. One round is lost in finding that out."""
    ours = a_record()
    async with FakeApiServer() as server, labels_on(server) as labels:
        server.answers("GET", LIST, *[OLD_SERVER] * 3, body(NOTHING), body({"metadata": {}, "items": [ours]}), body(NOTHING))
        server.answers("PATCH", path_of(ours), body(ours))

        assert [await labels.mend(), await labels.mend()] == [0, 1]

    assert [request.query.get("labelSelector") for request in server.seen if request.method == "GET"][-2:] == [
        "app.kubernetes.io/managed-by!=zenwatch",
        "!zen.kube-zen.io/cluster",
    ]


async def test_a_refused_write_is_logged_once_and_the_others_are_made() -> None:
    """A policy may forbid it."""
    refused, other = a_record(), a_record(key="other")
    async with FakeApiServer() as server, labels_on(server) as labels:
        server.answers("GET", LIST, *[body({"metadata": {}, "items": [refused, other]}), body(NOTHING)] * 2)
        server.answers("PATCH", path_of(refused), *[status(422, reason="Invalid", message="no")] * 2)
        server.answers("PATCH", path_of(other), *[body(other)] * 2)
        with capture_logs() as lines:
            assert [await labels.mend(), await labels.mend()] == [1, 1]

    assert [line["event"] for line in lines] == ["labels_not_restored"]
