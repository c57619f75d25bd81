"""zenwatch/kube/list_watch.py: list, watch, and take up the thread again after every break."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.fakes.api_server import Answer, FakeApiServer, body, bookmark, cuts, error_line, line, page, status, watch
from tests.support.tasks import background
from zenwatch.errors import Expired, Forbidden, NotFound, Transient
from zenwatch.kube.list_watch import (
    Change,
    Interrupted,
    ListComplete,
    ListWatch,
    Page,
    Resumed,
    WatchSignal,
)
from zenwatch.kube.paging import PAGE_FIRST_OBJECTS
from zenwatch.sdk.watcher import ApiResource

PODS = ApiResource("", "v1", "pods", "Pod")
PATH = "/api/v1/pods"


def pod(name: str, version: str = "1", **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": version}, **fields}


@asynccontextmanager
async def following(*answers: Answer, **options: Any) -> AsyncIterator[tuple[FakeApiServer, AsyncIterator[WatchSignal]]]:
    """Lists and watches of one kind share a path: the answers are given in the order of the requests."""
    async with FakeApiServer() as server:
        server.answers("GET", PATH, *answers)
        client = server.client()
        signals = ListWatch(client, PODS, **options).signals()
        try:
            yield server, signals
        finally:
            await signals.aclose()
            await client.close()


async def _take(signals: AsyncIterator[WatchSignal], count: int) -> list[WatchSignal]:
    async with asyncio.timeout(5):
        received: list[WatchSignal] = []
        while len(received) < count:
            signal = await anext(signals)
            # Of interruptions there are tests of their own.
            received += [signal] if not isinstance(signal, Interrupted | Resumed) else []
        return received


def _names(signals: list[WatchSignal]) -> list[str]:
    return [f"{signal.kind} {signal.object['metadata']['name']}" for signal in signals if isinstance(signal, Change)]


# ---------------------------------------------------------------- listing


async def test_a_list_of_one_page_is_complete_then_watched_from_its_version() -> None:
    """Nothing that happens between list and watch is missed."""
    async with following(page(pod("a"), version="100"), watch(line("ADDED", pod("b", "101")))) as (server, signals):
        received = await _take(signals, 3)

    assert [type(signal) for signal in received] == [Page, ListComplete, Change]
    assert isinstance(received[0], Page)
    assert received[0].answer["items"] == [pod("a")]
    assert _names(received) == ["ADDED b"]
    listed, watched = server.seen
    assert (listed.query["limit"], "watch" in listed.query) == (str(PAGE_FIRST_OBJECTS), False)
    assert (watched.query["watch"], watched.query["resourceVersion"], watched.query["allowWatchBookmarks"]) == ("true", "100", "true")


async def test_complete_comes_after_the_last_page() -> None:
    """keep_only on half a list would forget the other half."""
    async with following(page(pod("a"), more="t1"), page(pod("b"), more="t2"), page(pod("c"), version="102"), watch()) as (
        server,
        signals,
    ):
        received = await _take(signals, 4)
        await server.until_seen(3)

    assert [type(signal) for signal in received] == [Page, Page, Page, ListComplete]
    assert [seen.query.get("continue") for seen in server.seen[:3]] == [None, "t1", "t2"]


@pytest.mark.parametrize(
    ("answer", "error"), [(status(404), NotFound), (status(403), Forbidden), (status(500), Transient), (status(410), Expired)]
)
async def test_a_list_that_fails_is_for_the_consumer(answer: Answer, error: type[Exception]) -> None:
    """It knows whether to wait, to ask again, or to tell somebody."""
    async with following(answer) as (_, signals):
        with pytest.raises(error):
            await _take(signals, 1)


async def test_a_list_that_expires_between_pages_is_for_the_consumer() -> None:
    """The rest of an old list and the begin of a new one do not make a whole one."""
    async with following(page(pod("a"), more="t"), status(410)) as (_, signals):
        await _take(signals, 1)
        with pytest.raises(Expired):
            await _take(signals, 1)


async def test_selectors_go_along() -> None:
    """With the list and with the watch."""
    async with following(page(), watch(line("ADDED", pod("a", "101"))), label_selector="a=b") as (server, signals):
        await _take(signals, 3)

    assert [seen.query["labelSelector"] for seen in server.seen] == ["a=b"] * 2


# ---------------------------------------------------------------- watching


async def test_a_watch_that_the_server_ends_goes_on_at_its_version() -> None:
    """Every five minutes, without a word in the log and without a new list."""
    first = watch(line("MODIFIED", pod("a", "105")), then="end")
    async with following(page(version="100"), first, watch(line("DELETED", pod("a", "106")))) as (server, signals):
        received = await _take(signals, 4)

    assert _names(received) == ["MODIFIED a", "DELETED a"]
    assert [seen.query.get("resourceVersion") for seen in server.seen] == [None, "100", "105"]


async def test_a_watch_that_breaks_goes_on_at_its_version() -> None:
    """Nothing is sent twice, nothing is left out, nothing is listed anew."""
    first = watch(line("ADDED", pod("a", "105")), then="cut")
    async with following(page(version="100"), first, watch(line("ADDED", pod("b", "106")))) as (server, signals):
        received = await _take(signals, 4)

    assert _names(received) == ["ADDED a", "ADDED b"]
    assert [seen.query.get("resourceVersion") for seen in server.seen] == [None, "100", "105"]


async def test_a_break_is_signalled_and_its_end_only_by_a_bookmark() -> None:
    """Before it, something may have happened that is still to come: nothing may be concluded from what is not."""
    broken, again = (
        watch(line("ADDED", pod("a", "105")), then="cut"),
        watch(line("ADDED", pod("b", "106")), bookmark("107"), bookmark("108")),
    )
    async with following(page(version="100"), broken, again) as (_, signals), asyncio.timeout(5):
        received = [type(await anext(signals)) for _ in range(6)]

    assert received == [Page, ListComplete, Change, Interrupted, Change, Resumed]


async def test_a_watch_that_the_server_ends_in_order_is_no_interruption() -> None:
    """It does so every few minutes."""
    first = watch(line("MODIFIED", pod("a", "105")), then="end")
    async with following(page(version="100"), first, watch(line("DELETED", pod("a", "106")))) as (_, signals), asyncio.timeout(5):
        received = [type(await anext(signals)) for _ in range(4)]

    assert received == [Page, ListComplete, Change, Change]


async def test_a_bookmark_moves_the_version_and_is_no_signal() -> None:
    """A quiet kind keeps a version that the server still knows."""
    first = watch(bookmark("150"), then="cut")
    async with following(page(version="100"), first, watch(line("ADDED", pod("b", "151")))) as (server, signals):
        received = await _take(signals, 3)

    assert _names(received) == ["ADDED b"]
    assert server.seen[-1].query["resourceVersion"] == "150"


@pytest.mark.parametrize("answer", [watch(error_line(410)), status(410)], ids=["inside the watch", "instead of the watch"])
async def test_a_version_that_is_too_old_is_for_the_consumer(answer: Answer) -> None:
    """What it knows is out of date: it has to read everything anew."""
    async with following(page(), answer) as (_, signals):
        await _take(signals, 1 + 1)
        with pytest.raises(Expired):
            await _take(signals, 1)


async def test_following_again_after_that_lists_again() -> None:
    """The old version is forgotten."""
    async with FakeApiServer() as server:
        server.answers("GET", PATH, page(version="100"), watch(error_line(410)), page(version="200"), watch())
        client = server.client()
        follower = ListWatch(client, PODS)
        with pytest.raises(Expired):
            async for _ in follower.signals():
                pass
        async for signal in follower.signals():
            if isinstance(signal, ListComplete):
                break
        await client.close()

    assert ["watch" in seen.query for seen in server.seen] == [False, True, False]
    assert "resourceVersion" not in server.seen[2].query


async def test_another_error_inside_a_watch_is_a_break() -> None:
    """The server asks us to come again, from the same version."""
    first = watch(line("ADDED", pod("a", "105")), error_line(500, "etcd"))
    async with following(page(version="100"), first, watch(line("ADDED", pod("b", "106")))) as (server, signals):
        await _take(signals, 4)

    assert server.seen[-1].query["resourceVersion"] == "105"


@pytest.mark.parametrize("junk", [b"<html>\n", b"[]\n", b"\n"])
async def test_a_line_that_cannot_be_read_is_a_break(junk: bytes) -> None:
    """Whoever sent it, the next watch may be better."""
    async with following(page(version="100"), watch(junk), watch(line("ADDED", pod("b", "106")))) as (_, signals):
        received = await _take(signals, 3)

    assert _names(received) == ["ADDED b"]


async def test_watches_that_end_at_once_are_not_begun_without_pause() -> None:
    """A proxy that ends every watch would otherwise be asked thousands of times a second, and the API server behind it."""
    async with following(page(), *[watch(then="end")] * 200) as (server, signals):
        await _take(signals, 2)

        async def wait_for_a_change() -> None:
            await anext(signals)

        async with background(wait_for_a_change):
            await asyncio.sleep(0.2)

    assert len(server.seen) < 10


async def test_a_permission_that_is_taken_away_ends_the_watch() -> None:
    """It is for the consumer to say so, not to try for ever."""
    async with following(page(), status(403)) as (_, signals):
        await _take(signals, 2)
        with pytest.raises(Forbidden):
            await _take(signals, 1)


async def test_an_answer_that_is_cut_while_listing_is_for_the_consumer() -> None:
    """Half a page is no page."""
    async with following(cuts(b'{"items": [')) as (_, signals):
        with pytest.raises(Transient):
            await _take(signals, 1)


async def test_a_list_without_items_is_an_empty_one() -> None:
    """Go writes null for an empty list."""
    async with following(body({"metadata": {"resourceVersion": "1"}, "items": None}), watch()) as (_, signals):
        assert [type(signal) for signal in await _take(signals, 2)] == [Page, ListComplete]
