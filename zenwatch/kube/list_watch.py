"""Follow one kind of object: list it whole, then watch, and take up the thread again after every break.

In: a KubeClient and a kind.  Out: pages and changes as the API server sends them.
Owns: the place (resourceVersion) up to which the consumer has seen everything.
Stops: with the task that iterates it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import orjson
import structlog

from zenwatch.errors import Expired, Invalid, Transient, first_line
from zenwatch.kube.client import JSON, Call, KubeClient
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.sdk.watcher import ApiResource

log = structlog.get_logger(component="watch")

# A page is asked for by number of objects but meant in bytes: a report can be 1.5 MB, most are 20 KB. Decoded it takes five times that.
PAGE_TARGET_BYTES = 1024 * 1024
PAGE_FIRST_OBJECTS = 20
PAGE_MOST_OBJECTS = 500
# The server ends each watch after about this time, so that connections spread over its replicas; it sends a bookmark every minute.
WATCH_SECS = 300
WATCH_IDLE_SECS = 130.0


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: the decoded answer, a List or a Table."""

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListComplete:
    """All pages of the list were told."""


@dataclass(frozen=True, slots=True)
class Change:
    """kind: ADDED, MODIFIED or DELETED. object: as it is now, or was last."""

    kind: str
    object: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The watch broke. What happens from now on may be told late: nothing is to be concluded from what is not told."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The API server said, after an interruption, that all there was is told."""


WatchSignal = Page | ListComplete | Change | Interrupted | Resumed


class ListWatch:
    """signals() tells pages, Complete, then changes without end.

    A watch that breaks is taken up where it was, between Interrupted and Resumed. What signals() raises is for the consumer: Expired
    (what it knows is out of date; iterate again at once and be told everything anew), NotFound (the kind is not served), Forbidden, and
    Transient while listing.
    """

    def __init__(self, client: KubeClient, resource: ApiResource, *, namespace: str = "", label_selector: str = "") -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._selectors = {"labelSelector": label_selector} if label_selector else {}
        self._place: str | None = None
        self._is_interrupted = False

    async def signals(self) -> AsyncIterator[WatchSignal]:
        self._forget_place()
        async for page in self._pages():
            yield page
        yield ListComplete()
        attempt = 0
        while True:
            place, started = self._place, monotonic()
            broken_by: Transient | None = None
            try:
                async for signal in self._changes():
                    yield signal
            except Expired:
                raise
            except Transient as exc:
                broken_by = exc
            if self._place != place or monotonic() - started > 1.0:
                attempt = 0
                if broken_by is None:
                    continue
            attempt += 1
            if not self._is_interrupted:
                self._is_interrupted = True
                yield Interrupted()
            level = log.warning if attempt == 1 else log.debug
            level(
                "watch_interrupted",
                resource=self._resource.full_name,
                error=first_line(broken_by or Transient("it ended at once")),
                attempt=attempt,
            )
            await asyncio.sleep(backoff_secs(attempt, broken_by))

    def _forget_place(self) -> None:
        self._place, self._is_interrupted = None, False

    async def _pages(self) -> AsyncIterator[Page]:
        call = Call("list", self._resource, self._namespace)
        limit, token = PAGE_FIRST_OBJECTS, ""
        while True:
            query = self._selectors | {"limit": str(limit)} | ({"continue": token} if token else {})
            try:
                answer, size = await self._client.send_sized(call, query=query)
            except Invalid:
                if limit == 1:
                    raise
                limit = max(1, limit // 4)
                continue
            metadata = answer.get("metadata") or {}
            yield Page(answer)
            if not (token := metadata.get("continue") or ""):
                self._place = metadata.get("resourceVersion")
                return
            limit = _next_limit(limit, size)

    async def _changes(self) -> AsyncIterator[Change | Resumed]:
        query = self._selectors | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._place or "",
            # Spread, so that all our watches do not end in the same second.
            "timeoutSeconds": str(int(WATCH_SECS * random.uniform(0.8, 1.2))),  # noqa: S311  guards nothing
        }
        lines = self._client.stream(Call("watch", self._resource, self._namespace), query=query, accept=JSON, idle_secs=WATCH_IDLE_SECS)
        async for line in lines:
            event = _decoded(line)
            kind, told = event.get("type"), event.get("object") or {}
            if kind == "ERROR":
                if told.get("code") == 410:
                    raise Expired(str(told.get("message")))
                raise Transient(f"the watch of {self._resource.full_name} was ended: {told.get('message')}")
            if kind != "BOOKMARK":
                yield Change(str(kind), told)
            elif self._is_interrupted:
                # A bookmark comes after all that it stands for.
                self._is_interrupted = False
                yield Resumed()
            # Only after the consumer came back for more: what it did not finish is told again.
            self._place = (told.get("metadata") or {}).get("resourceVersion") or self._place


def _next_limit(limit: int, size: int) -> int:
    wanted = limit * PAGE_TARGET_BYTES // max(size, 1)
    return max(1, min(wanted, limit * 4, PAGE_MOST_OBJECTS))


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise Transient(f"a watch sent a line that is not JSON: {exc}") from exc
    if not isinstance(event, dict):
        raise Transient("a watch sent a line that is not an object")
    return event
