"""Find the controller that owns a Pod, ReplicaSet or Job: a finding about the controller outlives a rollout."""

import asyncio
from collections.abc import Mapping
from sys import intern
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import structlog
from cachetools import TTLCache

from zenwatch.contract import Clock
from zenwatch.errors import Expired, Forbidden, Permanent, Transient, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import LIST_METADATA, ONE_METADATA, Call
from zenwatch.kube.http.status_errors import permission_of
from zenwatch.kube.kinds import JOBS, PODS, REPLICA_SETS
from zenwatch.kube.paging import PAGE_MOST_OBJECTS, listed_objects
from zenwatch.log import OncePerMessage
from zenwatch.model.finding import Resource
from zenwatch.model.refs import Scope
from zenwatch.sdk.watcher import ApiResource

log = structlog.get_logger(component="owners")

# Pod, Job, CronJob and what runs the CronJob: no longer chain was ever seen.
MOST_STEPS = 4
# About 30 MB when full. In a cluster with more Pods and ReplicaSets, those that were not asked for longest are read again.
OWNERS_KNOWN = 50_000
# The owner of a name practically never changes. A deleted object stays known for this time: its reports are deleted later than it is.
OWNER_KNOWN_SECS = 6 * 3600.0
# A missing object may only be young.
MISSING_KNOWN = 10_000
MISSING_KNOWN_SECS = 30.0
# A guess: listing a namespace pays off at a start and after a quiet time; for what a rollout brings, single reads do.
SCOPES_KNOWN = 10_000
LISTED_SECS = 600.0
REFUSED_SECS = 600.0

# The kinds whose owners are followed. Everything else is its own controller: a Deployment stays one also if an operator made it.
_FOLLOWED = {kind.kind: kind for kind in (PODS, REPLICA_SETS, JOBS)}


class _Owner(NamedTuple):
    api_version: str
    kind: str
    name: str


_Key = tuple[str, str, str]
_NOBODY = _Owner("", "", "")


class ControllerFinder:
    """contract.OwnerResolver over one API server. Memory is bounded; what is known, missing, listed or refused is known for a while."""

    def __init__(self, client: KubeClient, *, clock: Clock) -> None:
        timer = clock.monotonic_secs
        self._client = client
        # Keys are flat (kind, namespace, name), because there are many.
        self._owners: TTLCache[_Key, _Owner] = TTLCache(OWNERS_KNOWN, OWNER_KNOWN_SECS, timer=timer)
        self._missing: TTLCache[_Key, bool] = TTLCache(MISSING_KNOWN, MISSING_KNOWN_SECS, timer=timer)
        self._listed: TTLCache[Scope, bool] = TTLCache(SCOPES_KNOWN, LISTED_SECS, timer=timer)
        self._refused: TTLCache[Scope, bool] = TTLCache(SCOPES_KNOWN, REFUSED_SECS, timer=timer)
        # A lock lives as long as a task holds it or waits for it.
        self._locks: WeakValueDictionary[Scope, asyncio.Lock] = WeakValueDictionary()
        self._logged = OncePerMessage()

    async def controller_of(self, resource: Resource) -> Resource:
        """The topmost controller; the resource itself if it has none, or if it cannot or may not be read. Raises Transient: ask again."""
        found = resource
        for _ in range(MOST_STEPS):
            kind = _followed(found)
            if kind is None:
                break
            owner = await self._owner_of(kind, Scope(kind.full_name, found.namespace), found.name)
            if owner is _NOBODY:
                break
            found = Resource(*owner, namespace=resource.namespace)
        return found

    async def _owner_of(self, kind: ApiResource, scope: Scope, name: str) -> _Owner:
        key = (*scope, name)
        known = self._known(scope, key)
        if known is None:
            # One task asks for a scope at a time: the others mostly find the answer in the cache afterwards.
            async with self._locks.setdefault(scope, asyncio.Lock()):
                known = self._known(scope, key) or await self._ask(kind, scope, key)
        return known

    def _known(self, scope: Scope, key: _Key) -> _Owner | None:
        """None: it has to be read. A known owner is returned also if reading is refused by now."""
        known = self._owners.get(key)
        return _NOBODY if known is None and (key in self._missing or scope in self._refused) else known

    async def _ask(self, kind: ApiResource, scope: Scope, key: _Key) -> _Owner:
        try:
            if scope not in self._listed:
                await self._list(kind, scope)
                if (listed := self._owners.get(key)) is not None:
                    return listed
            return await self._get(kind, scope, key)
        except Forbidden as exc:
            self._refused[scope] = True
            self._log_refusal(exc)
            return _NOBODY
        except Expired as exc:
            # Our own list expired, not the list of reports that the caller reads: the caller need not begin anew.
            raise Transient(first_line(exc)) from exc

    async def _list(self, kind: ApiResource, scope: Scope) -> None:
        """Read all owners of a scope, so that thousands of reports at a start cost a few requests."""
        try:
            count = await self._read_all(kind, scope)
            log.debug("owners_listed", resource=kind.full_name, namespace=scope.namespace, count=count)
        except Forbidden:
            raise
        except Permanent as exc:
            # Too large, or no such namespace: read single objects instead.
            log.debug("owners_not_listed", resource=kind.full_name, namespace=scope.namespace, error=first_line(exc))
        self._listed[scope] = True

    async def _read_all(self, kind: ApiResource, scope: Scope) -> int:
        call, count = Call("list", kind, scope.namespace), 0
        async for entry in listed_objects(self._client, call, accept=LIST_METADATA, first_objects=PAGE_MOST_OBJECTS):
            metadata = entry["metadata"]
            self._owners[*scope, metadata["name"]] = _owner_in(metadata)
            count += 1
        return count

    async def _get(self, kind: ApiResource, scope: Scope, key: _Key) -> _Owner:
        try:
            answer = await self._client.send(Call("get", kind, scope.namespace, key[2]), accept=ONE_METADATA)
        except Forbidden:
            raise
        except Permanent:
            # Not there, or a name that cannot exist: tools write names.
            self._missing[key] = True
            return _NOBODY
        owner = self._owners[key] = _owner_in(answer.get("metadata") or {})
        return owner

    def _log_refusal(self, refusal: Forbidden) -> None:
        if self._logged.is_new(permission_of(refusal)):
            log.warning("permission_missing", error=first_line(refusal), reason="its findings stay with the resource that the tool names")


def _followed(resource: Resource) -> ApiResource | None:
    """None: it is its own controller. Other groups have a Job, too (batch.volcano.sh), and tools do not always name the group."""
    kind = _FOLLOWED.get(resource.kind)
    if kind is None or not resource.namespace or not resource.name:
        return None
    group, _, _ = resource.api_version.rpartition("/")
    return kind if not resource.api_version or group == kind.group else None


def _owner_in(metadata: Mapping[str, Any]) -> _Owner:
    """An object has one controller at most. The Node of a static Pod does not count: the next Pod on it is another one."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") is True and reference["kind"] != "Node":
            # Equal strings are kept once.
            return _Owner(intern(reference["apiVersion"]), intern(reference["kind"]), reference["name"])
    return _NOBODY
