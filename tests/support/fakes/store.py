"""contract.Store in memory, with the faults that a test orders."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from tests.support.fakes.clock import START
from zenwatch.contract import Gone, Put, Synced
from zenwatch.errors import Conflict, Invalid, NoNamespace, NotFound, Transient
from zenwatch.kube.records import CLUSTER_LABEL, REPORT_ANNOTATION, object_of, stored_of
from zenwatch.model.event import Event
from zenwatch.model.record import Phase, Status, Stored
from zenwatch.model.refs import ReportRef
from zenwatch.model.timestamps import format_rfc3339


class MemoryStore:
    """objects: by name, as the API server would return them. calls: every attempt to write, as (operation, name)."""

    def __init__(self, *, cluster_ids: Collection[str] = ("local",), own_namespace: str = "zenwatch") -> None:
        # When records are created.
        self.now: Callable[[], datetime] = lambda: START
        self.objects: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.missing_namespaces: set[str] = set()
        self.terminating_namespaces: set[str] = set()
        self.follows_begun = 0
        self._cluster_ids = frozenset(cluster_ids)
        self._own_namespace = own_namespace
        self._faults: dict[str, deque[Exception]] = {}
        self._version = 0
        self._answers_to_lose = 0
        self._refusals: dict[str, Exception] = {}
        self._hanging: dict[str, asyncio.Event] = {}
        self._changes: list[Put | Gone | Exception] = []
        self._news = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()

    # ------------------------------------------------------------ for the test

    def fail_next(self, times: int, error: Exception, *, of: str = "write") -> None:
        """Let the next calls raise error. of: create, update, set_status or follow; write: any of the first three."""
        self._faults.setdefault(of, deque()).extend([error] * times)

    def lose_answers(self, times: int) -> None:
        """Let the next writes succeed and raise Transient all the same, as if the answer was lost."""
        self._answers_to_lose = times

    def hold_writes(self) -> None:
        """Let writes wait until let_go() is called."""
        self._open.clear()

    def let_go(self) -> None:
        self._open.set()

    def refuse(self, namespace: str, error: Exception) -> None:
        """Refuse every write of a record in this namespace, until take_again()."""
        self._refusals[namespace] = error

    def hang(self, namespace: str) -> None:
        """Answer no write of a record in this namespace, until take_again()."""
        self._hanging[namespace] = asyncio.Event()

    def take_again(self, namespace: str) -> None:
        self._refusals.pop(namespace, None)
        if (hanging := self._hanging.pop(namespace, None)) is not None:
            hanging.set()

    def break_follows(self, error: Exception) -> None:
        """End every running follow() with error."""
        self._announce(error)

    def remove(self, name: str) -> None:
        """Delete the record, as a user would."""
        del self.objects[name]
        self._announce(Gone(name, self._next_version()))

    def edit(self, name: str, part: str, **fields: Any) -> None:
        """Change fields of metadata, spec or status, as a user would."""
        self._keep(self.objects[name] | {part: self.objects[name][part] | fields})

    def stored(self, name: str) -> Stored:
        return stored_of(self.objects[name])

    def specs(self) -> list[dict[str, Any]]:
        """The spec of every record, by name."""
        return [self.objects[name]["spec"] for name in sorted(self.objects)]

    def operations(self) -> list[str]:
        """The attempts to write, without the names."""
        return [operation for operation, _ in self.calls]

    # ------------------------------------------------------------ contract.Store

    def target_of(self, event: Event) -> str:
        return event.resource.namespace or self._own_namespace

    async def create(self, event: Event, *, spec_hash: str, report: ReportRef | None = None) -> tuple[Stored, bool]:
        await self._enter("create", event.name, event.resource.namespace)
        if not event.title:
            raise Invalid(f"{event.name}: spec.title must not be empty")
        namespace = event.resource.namespace or self._own_namespace
        if namespace in self.missing_namespaces | self.terminating_namespaces:
            if namespace == self._own_namespace:
                raise NoNamespace(f"zenwatch's own namespace {namespace} cannot hold records")
            namespace = self._own_namespace
        if event.name in self.objects:
            return self.stored(event.name), False
        created = object_of(event, namespace=namespace, hash_of_spec=spec_hash, report=report)
        created["metadata"]["creationTimestamp"] = format_rfc3339(self.now())
        created["status"] = {"phase": Phase.OPEN.value, "count": 1, "reopened": 0}
        return self._keep(created), True

    async def update(self, event: Event, *, spec_hash: str, stored: Stored, report: ReportRef | None = None) -> Stored:
        await self._enter("update", stored.name, stored.namespace)
        self._require_version(stored)
        before = self._object(stored.name)
        report = report or ReportRef.parse(before["metadata"]["annotations"].get(REPORT_ANNOTATION, ""))
        after = object_of(event, namespace=stored.namespace, hash_of_spec=spec_hash, report=report)
        after["metadata"]["creationTimestamp"] = before["metadata"]["creationTimestamp"]
        for field in ("source", "clusterID", "key", "detectedAt"):
            after["spec"][field] = before["spec"][field]
        return self._keep(after | {"status": before["status"]})

    async def set_status(self, stored: Stored, status: Status, *, now: datetime) -> Stored:
        await self._enter("set_status", stored.name, stored.namespace)
        self._require_version(stored)
        before = self._object(stored.name)
        first_seen = format_rfc3339(datetime.fromtimestamp(stored.first_seen, UTC))
        fields = {"phase": str(status.phase), "count": status.count, "reopened": status.reopened, "firstSeen": first_seen}
        fields["lastSeen"] = max(first_seen, format_rfc3339(status.seen_at or now))
        after = {field: value for field, value in before["status"].items() if field != "resolvedAt"} | fields
        after |= {"resolvedAt": format_rfc3339(now)} if status.phase == Phase.RESOLVED else {}
        after |= {"reason": str(status.reason)} if status.reason is not None else {}
        return self._keep(before | {"status": after})

    async def delete(self, stored: Stored) -> None:
        await self._enter("delete", stored.name, stored.namespace)
        self._require_version(stored)
        self.remove(stored.name)

    async def mend(self) -> int:
        return 0

    async def read(self, stored: Stored) -> Mapping[str, Any]:
        self._fail("read")
        return self._object(stored.name)

    async def ping(self) -> None:
        self._fail("ping")

    async def check(self) -> tuple[bool, list[str]]:
        return True, ["memory ok"]

    @property
    def parts(self) -> Sequence[str]:
        return ("",)

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        self.follows_begun += 1
        self._fail("follow")
        index = len(self._changes)
        for kept in list(self.objects.values()):
            if kept["metadata"]["labels"][CLUSTER_LABEL] in self._cluster_ids:
                yield Put(stored_of(kept))
        yield Synced()
        while True:
            news = self._news
            while index < len(self._changes):
                change = self._changes[index]
                index += 1
                if isinstance(change, Exception):
                    raise change
                yield change
            await news.wait()

    # ------------------------------------------------------------ inside

    async def _enter(self, operation: str, name: str, namespace: str) -> None:
        self.calls.append((operation, name))
        await self._open.wait()
        if (hanging := self._hanging.get(namespace)) is not None:
            await hanging.wait()
        if (refusal := self._refusals.get(namespace)) is not None:
            raise refusal
        self._fail(operation)
        self._fail("write")

    def _fail(self, operation: str) -> None:
        if faults := self._faults.get(operation):
            raise faults.popleft()

    def _object(self, name: str) -> dict[str, Any]:
        if name not in self.objects:
            raise NotFound(f"{name} not found", missing_kind="zenagentevents")
        return self.objects[name]

    def _require_version(self, stored: Stored) -> None:
        if int(self._object(stored.name)["metadata"]["resourceVersion"]) != stored.version:
            raise Conflict(f"{stored.name} was changed meanwhile")

    def _keep(self, changed: dict[str, Any]) -> Stored:
        metadata = changed["metadata"] | {"resourceVersion": str(self._next_version())}
        # An API server returns plain JSON.
        self.objects[metadata["name"]] = kept = orjson.loads(orjson.dumps(changed | {"metadata": metadata}))
        if metadata["labels"][CLUSTER_LABEL] in self._cluster_ids:
            self._announce(Put(stored_of(kept)))
        if self._answers_to_lose:
            self._answers_to_lose -= 1
            raise Transient("the connection was cut")
        return stored_of(kept)

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def _announce(self, change: Put | Gone | Exception) -> None:
        self._changes.append(change)
        self._news.set()
        self._news = asyncio.Event()
