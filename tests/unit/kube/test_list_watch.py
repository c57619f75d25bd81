"""zenwatch/kube/list_watch.py: list, watch, and take up the thread again after every break."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from tests.support.fakes.api_server import Answer, FakeApiServer, body, bookmark, cuts, error_line, line, page, status, watch
from tests.support.tasks import background
from zenwatch.errors import Expired, Forbidden, Invalid, NotFound, Transient
from zenwatch.kube.list_watch import (
    PAGE_FIRST_OBJECTS,
    PAGE_MOST_OBJECTS,
    PAGE_TARGET_BYTES,
    Change,
    Interrupted,
    ListComplete,
    ListWatch,
    Page,
    Resumed,
    WatchSignal,
)
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
        signals = cast("AsyncGenerator[WatchSignal, None]", ListWatch(client, PODS, **options).signals())
        try:
            yield server, signals
        finally:
            await signals.aclose()
            await client.close()


async def _take(signals: AsyncIterator[WatchSignal], count: int) -> list[WatchSignal]:
    async with asyncio.timeout(5):
        told: list[WatchSignal] = []
        while len(told) < count:
            signal = await anext(signals)
            # Of interruptions there are tests of their own.
            told += [signal] if not isinstance(signal, Interrupted | Resumed) else []
        return told


def _names(signals: list[WatchSignal]) -> list[str]:
    return [f"{signal.kind} {signal.object['metadata']['name']}" for signal in signals if isinstance(signal, Change)]


# ---------------------------------------------------------------- listing


async def test_a_list_of_one_page_is_complete_then_watched_from_its_version() -> None:
    """Nothing that happens between list and watch is missed."""
    async with following(page(pod("a"), version="100"), watch(line("ADDED", pod("b", "101")))) as (server, signals):
        told = await _take(signals, 3)

    assert [type(signal) for signal in told] == [Page, ListComplete, Change]
    assert isinstance(told[0], Page)
    assert told[0].answer["items"] == [pod("a")]
    assert _names(told) == ["ADDED b"]
    listed, watched = server.seen
    assert (listed.query["limit"], "watch" in listed.query) == (str(PAGE_FIRST_OBJECTS), False)
    assert (watched.query["watch"], watched.query["resourceVersion"], watched.query["allowWatchBookmarks"]) == ("true", "100", "true")


async def test_complete_comes_after_the_last_page() -> None:
    """keep_only on half a list would forget the other half."""
    async with following(page(pod("a"), more="t1"), page(pod("b"), more="t2"), page(pod("c"), version="102"), watch()) as (
        server,
        signals,
    ):
        told = await _take(signals, 4)
        await server.until_seen(3)

    assert [type(signal) for signal in told] == [Page, Page, Page, ListComplete]
    assert [seen.query.get("continue") for seen in server.seen[:3]] == [None, "t1", "t2"]


async def test_pages_of_small_objects_grow() -> None:
    """Fewer requests; by four at most, so that one small page does not lead to a huge one."""
    async with following(*(page(pod("a"), more=str(number)) for number in range(4)), page(pod("z"))) as (server, signals):
        await _take(signals, 5)

    assert [int(seen.query["limit"]) for seen in server.seen] == [20, 80, 320, PAGE_MOST_OBJECTS, PAGE_MOST_OBJECTS]


async def test_pages_of_large_objects_shrink() -> None:
    """A page is meant in bytes: a report can have 1.5 MB."""
    large = pod("a", text="x" * (4 * PAGE_TARGET_BYTES))
    async with following(page(large, more="1"), page(pod("b"))) as (server, signals):
        await _take(signals, 2)

    assert [int(seen.query["limit"]) for seen in server.seen] == [20, 4]


async def test_a_page_that_is_too_large_is_asked_for_in_smaller_ones() -> None:
    """From the same place; only one object that is too large by itself is an error."""
    too_large = status(413, message="too large")
    async with following(page(pod("a"), more="t"), too_large, page(pod("b"))) as (server, signals):
        await _take(signals, 2)
        assert [(int(seen.query["limit"]), seen.query.get("continue")) for seen in server.seen] == [(20, None), (80, "t"), (20, "t")]

    async with following(*[too_large] * 4) as (server, signals):
        with pytest.raises(Invalid):
            await _take(signals, 1)
        assert [int(seen.query["limit"]) for seen in server.seen] == [20, 5, 1]


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


async def test_a_watch_that_the_server_ends_goes_on_at_its_place() -> None:
    """Every five minutes, without a word in the log and without a new list."""
    first = watch(line("MODIFIED", pod("a", "105")), then="end")
    async with following(page(version="100"), first, watch(line("DELETED", pod("a", "106")))) as (server, signals):
        told = await _take(signals, 4)

    assert _names(told) == ["MODIFIED a", "DELETED a"]
    assert [seen.query.get("resourceVersion") for seen in server.seen] == [None, "100", "105"]


async def test_a_watch_that_breaks_goes_on_at_its_place() -> None:
    """Nothing is told twice, nothing is left out, nothing is listed anew."""
    first = watch(line("ADDED", pod("a", "105")), then="cut")
    async with following(page(version="100"), first, watch(line("ADDED", pod("b", "106")))) as (server, signals):
        told = await _take(signals, 4)

    assert _names(told) == ["ADDED a", "ADDED b"]
    assert [seen.query.get("resourceVersion") for seen in server.seen] == [None, "100", "105"]


async def test_a_break_is_told_and_its_end_only_by_a_bookmark() -> None:
    """Before it, something may have happened that is still to be told: nothing may be concluded from what is not."""
    broken, again = (
        watch(line("ADDED", pod("a", "105")), then="cut"),
        watch(line("ADDED", pod("b", "106")), bookmark("107"), bookmark("108")),
    )
    async with following(page(version="100"), broken, again) as (_, signals), asyncio.timeout(5):
        told = [type(await anext(signals)) for _ in range(6)]

    assert told == [Page, ListComplete, Change, Interrupted, Change, Resumed]


async def test_a_watch_that_the_server_ends_in_order_is_no_interruption() -> None:
    """It does so every few minutes."""
    first = watch(line("MODIFIED", pod("a", "105")), then="end")
    async with following(page(version="100"), first, watch(line("DELETED", pod("a", "106")))) as (_, signals), asyncio.timeout(5):
        told = [type(await anext(signals)) for _ in range(4)]

    assert told == [Page, ListComplete, Change, Change]


async def test_a_bookmark_moves_the_place_and_is_not_told() -> None:
    """A quiet kind keeps a place that the server still knows."""
    first = watch(bookmark("150"), then="cut")
    async with following(page(version="100"), first, watch(line("ADDED", pod("b", "151")))) as (server, signals):
        told = await _take(signals, 3)

    assert _names(told) == ["ADDED b"]
    assert server.seen[-1].query["resourceVersion"] == "150"


@pytest.mark.parametrize("answer", [watch(error_line(410)), status(410)], ids=["inside the watch", "instead of the watch"])
async def test_a_place_that_is_too_old_is_for_the_consumer(answer: Answer) -> None:
    """What it knows is out of date: it has to be told everything anew."""
    async with following(page(), answer) as (_, signals):
        await _take(signals, 1 + 1)
        with pytest.raises(Expired):
            await _take(signals, 1)


async def test_following_again_after_that_lists_again() -> None:
    """The old place is forgotten."""
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
    """The server asks us to come again, from the same place."""
    first = watch(line("ADDED", pod("a", "105")), error_line(500, "etcd"))
    async with following(page(version="100"), first, watch(line("ADDED", pod("b", "106")))) as (server, signals):
        await _take(signals, 4)

    assert server.seen[-1].query["resourceVersion"] == "105"


@pytest.mark.parametrize("junk", [b"<html>\n", b"[]\n", b"\n"])
async def test_a_line_that_cannot_be_read_is_a_break(junk: bytes) -> None:
    """Whoever sent it, the next watch may be better."""
    async with following(page(version="100"), watch(junk), watch(line("ADDED", pod("b", "106")))) as (_, signals):
        told = await _take(signals, 3)

    assert _names(told) == ["ADDED b"]


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
