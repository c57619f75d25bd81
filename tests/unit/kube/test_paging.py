"""zenwatch/kube/paging.py: lists, page by page."""

from typing import Any

import pytest

from tests.support.fakes.api_server import Answer, FakeApiServer, Seen, body, page, status
from zenwatch.errors import Expired, Invalid
from zenwatch.kube.http.request import LIST_METADATA, Call
from zenwatch.kube.kinds import PODS
from zenwatch.kube.paging import PAGE_MOST_OBJECTS, PAGE_TARGET_BYTES, listed_objects, pages

PATH = "/api/v1/pods"
LIST = Call("list", PODS)


def pod(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **fields}


async def listed(*answers: Answer, **options: Any) -> tuple[list[str], list[Seen]]:
    """The names of all objects, and the requests that it took."""
    async with FakeApiServer() as server:
        server.answers("GET", PATH, *answers)
        client = server.client()
        try:
            return [entry["metadata"]["name"] async for entry in listed_objects(client, LIST, **options)], server.seen
        finally:
            await client.close()


def limits(seen: list[Seen]) -> list[int]:
    return [int(request.query["limit"]) for request in seen]


async def test_every_page_is_read_with_the_same_selectors() -> None:
    """A token is only good for the list that it came from."""
    names, seen = await listed(page(pod("a"), more="t1"), page(pod("b")), query={"labelSelector": "a=b"}, accept=LIST_METADATA)

    assert names == ["a", "b"]
    assert [(request.query["labelSelector"], request.query.get("continue")) for request in seen] == [("a=b", None), ("a=b", "t1")]
    assert {request.headers["Accept"] for request in seen} == {LIST_METADATA}


async def test_pages_of_small_objects_grow() -> None:
    """Fewer requests; by four at most, so that one small page does not lead to a huge one."""
    _, seen = await listed(*(page(pod("a"), more=str(number)) for number in range(4)), page(pod("z")))

    assert limits(seen) == [20, 80, 320, PAGE_MOST_OBJECTS, PAGE_MOST_OBJECTS]


async def test_pages_of_large_objects_shrink() -> None:
    """A page is meant in bytes: a report can have 1.5 MB."""
    large = pod("a", text="x" * (4 * PAGE_TARGET_BYTES))
    _, seen = await listed(page(large, more="1"), page(pod("b")))

    assert limits(seen) == [20, 4]


async def test_a_page_that_is_too_large_is_read_in_smaller_ones() -> None:
    """From the same token."""
    too_large = status(413, message="too large")
    names, seen = await listed(page(pod("a"), more="t"), too_large, page(pod("b")))

    assert names == ["a", "b"]
    assert [(int(request.query["limit"]), request.query.get("continue")) for request in seen] == [(20, None), (80, "t"), (20, "t")]


async def test_one_object_that_is_too_large_is_an_error() -> None:
    """No smaller page would have less in it."""
    async with FakeApiServer() as server:
        server.answers("GET", PATH, *[status(413, message="too large")] * 4)
        client = server.client()
        with pytest.raises(Invalid):
            await anext(pages(client, LIST))
        await client.close()

        assert limits(server.seen) == [20, 5, 1]


async def test_a_list_that_expires_between_pages_is_for_the_caller() -> None:
    """The rest of an old list and the begin of a new one do not make a whole one."""
    with pytest.raises(Expired):
        await listed(page(pod("a"), more="t"), status(410))


async def test_a_list_without_items_is_an_empty_one() -> None:
    """Go writes null for an empty list."""
    names, _ = await listed(body({"metadata": {}, "items": None}))

    assert names == []
