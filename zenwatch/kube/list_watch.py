"""Follow one kind of object: list it whole, then watch it, and continue after every break where it broke.

In: a KubeClient and a kind.  Out: pages and changes as the API server sends them.
Owns: the resourceVersion up to which the consumer has seen everything.
Stops: with the task that iterates it.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any

import orjson
import structlog

from zenwatch.errors import Expired, Transient, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.kube.paging import pages
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.sdk.watcher import ApiResource

log = structlog.get_logger(component="watch")

# The server ends each watch after about this time, so that connections spread over its replicas; it sends a bookmark every minute.
WATCH_SECS = 300
WATCH_IDLE_SECS = 130.0
# A watch that lasted so long, or brought anything, was no failure.
HEALTHY_SECS = 1.0


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a list: the decoded answer."""

    answer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ListComplete:
    """Every page of the list was given out."""


@dataclass(frozen=True, slots=True)
class Change:
    """kind: ADDED, MODIFIED or DELETED. object: as it is now, or was last."""

    kind: str
    object: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The watch broke. Changes may arrive late from now on: conclude nothing from their absence."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """After an interruption the API server confirmed that every change until now has arrived."""


WatchSignal = Page | ListComplete | Change | Interrupted | Resumed


class ListWatch:
    """signals() gives pages, ListComplete, then changes without end.

    A watch that breaks continues where it broke, between Interrupted and Resumed. signals() raises for the consumer: Expired (what the
    consumer knows is out of date; iterate again at once, which lists everything anew), NotFound (the kind is not served), Forbidden, and
    Transient while listing. It can be iterated again at any time, but only once at a time.
    """

    def __init__(self, client: KubeClient, resource: ApiResource, *, namespace: str = "", label_selector: str = "") -> None:
        self._client = client
        self._resource = resource
        self._namespace = namespace
        self._selectors = {"labelSelector": label_selector} if label_selector else {}
        self._version: str | None = None
        self._is_interrupted = False
        self._broken_by: Transient | None = None

    async def signals(self) -> AsyncGenerator[WatchSignal, None]:
        self._reset()
        async with aclosing(self._list()) as listed:
            async for page in listed:
                yield page
        yield ListComplete()
        attempt = 0
        while True:
            version, started = self._version, monotonic()
            async with aclosing(self._watch()) as changes:
                async for signal in changes:
                    yield signal
            is_healthy = self._version != version or monotonic() - started > HEALTHY_SECS
            attempt = 0 if is_healthy else attempt
            if is_healthy and self._broken_by is None:
                continue
            attempt += 1
            if not self._is_interrupted:
                self._is_interrupted = True
                yield Interrupted()
            await self._pause(attempt)

    def _reset(self) -> None:
        self._version, self._is_interrupted = None, False

    async def _list(self) -> AsyncGenerator[Page, None]:
        async with aclosing(pages(self._client, Call("list", self._resource, self._namespace), query=self._selectors)) as answers:
            async for answer in answers:
                yield Page(answer)
                self._version = (answer.get("metadata") or {}).get("resourceVersion")

    async def _pause(self, attempt: int) -> None:
        reason = self._broken_by or Transient("it ended at once")
        level = log.warning if attempt == 1 else log.debug
        level("watch_interrupted", resource=self._resource.full_name, error=first_line(reason), attempt=attempt)
        await asyncio.sleep(backoff_secs(attempt, reason))

    async def _watch(self) -> AsyncGenerator[Change | Resumed, None]:
        """One watch; afterwards _broken_by is None if the server ended it in order."""
        self._broken_by = None
        try:
            async with aclosing(self._changes()) as changes:
                async for signal in changes:
                    yield signal
        except Expired:
            raise
        except Transient as exc:
            self._broken_by = exc

    async def _changes(self) -> AsyncGenerator[Change | Resumed, None]:
        query = self._selectors | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            # Spread, so that all our watches do not end in the same second.
            "timeoutSeconds": str(int(WATCH_SECS * random.uniform(0.8, 1.2))),  # noqa: S311  guards nothing
        }
        call = Call("watch", self._resource, self._namespace)
        async with aclosing(self._client.stream(call, query=query, idle_secs=WATCH_IDLE_SECS)) as lines:
            async for line in lines:
                kind, changed = self._read(line)
                if kind != "BOOKMARK":
                    yield Change(kind, changed)
                elif self._is_interrupted:
                    # A bookmark comes after all changes up to its version.
                    self._is_interrupted = False
                    yield Resumed()
                # Only after the consumer came back for more: what it did not finish is given out again.
                self._version = (changed.get("metadata") or {}).get("resourceVersion") or self._version

    def _read(self, line: bytes) -> tuple[str, Mapping[str, Any]]:
        """The kind and the object of one watch event. Raises Expired or Transient for an error event."""
        event = _decoded(line)
        kind, changed = str(event.get("type")), event.get("object") or {}
        if kind != "ERROR":
            return kind, changed
        if changed.get("code") == 410:
            raise Expired(str(changed.get("message")))
        raise Transient(f"the watch of {self._resource.full_name} was ended: {changed.get('message')}")


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError as exc:
        raise Transient(f"a watch sent a line that is not JSON: {exc}") from exc
    if not isinstance(event, dict):
        raise Transient("a watch sent a line that is not an object")
    return event
