"""Find the controller that owns a Pod, ReplicaSet or Job: what is said of it outlives a rollout.

In: resources as reports name them; owner references, read as metadata only.  Out: the controller, or the resource itself.
Owns: the owners of at most OWNERS_KNOWN objects; what was not found, listed or allowed, each for a while.
Stops: nothing to stop.
"""

import asyncio
from collections.abc import Mapping
from sys import intern
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import structlog
from cachetools import TTLCache

from zenwatch.contract import Clock
from zenwatch.errors import Expired, Forbidden, Permanent, Transient, first_line
from zenwatch.kube.client import Call, KubeClient
from zenwatch.log import OncePerMessage
from zenwatch.model.finding import Resource
from zenwatch.sdk.watcher import ApiResource

log = structlog.get_logger(component="owners")

ONE_METADATA = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
LIST_METADATA = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
PAGE_OBJECTS = 500
# Pod, Job, CronJob and what runs the CronJob: nobody has been seen to build higher.
MOST_STEPS = 4
# About 30 MB when full. A cluster with more Pods and ReplicaSets asks again for the ones that were longest not asked for.
OWNERS_KNOWN = 50_000
# Who owns a name practically never changes. Also what has been deleted is answered until then: its reports go later than it does.
OWNER_KNOWN_SECS = 6 * 3600.0
# What is missing may only be young.
MISSING_KNOWN = 10_000
MISSING_KNOWN_SECS = 30.0
# A guess: listing a namespace is worth it at a start and after a silence, and single reads for what a rollout brings.
PLACES_KNOWN = 10_000
LISTED_SECS = 600.0
REFUSED_SECS = 600.0

# Whose owners are followed. Everything else is its own controller: a Deployment stays one also where an operator made it.
_FOLLOWED = {
    "Pod": ApiResource("", "v1", "pods", "Pod"),
    "ReplicaSet": ApiResource("apps", "v1", "replicasets", "ReplicaSet"),
    "Job": ApiResource("batch", "v1", "jobs", "Job"),
}


class _Place(NamedTuple):
    kind: str
    namespace: str


class _Owner(NamedTuple):
    api_version: str
    kind: str
    name: str


_Key = tuple[str, str, str]
_NOBODY = _Owner("", "", "")


class Owners:
    """contract.OwnerResolver over the API server."""

    def __init__(self, client: KubeClient, *, clock: Clock) -> None:
        timer = clock.monotonic_secs
        self._client = client
        # kind, namespace and name, as flat as can be: there are many.
        self._owners: TTLCache[_Key, _Owner] = TTLCache(OWNERS_KNOWN, OWNER_KNOWN_SECS, timer=timer)
        self._missing: TTLCache[_Key, bool] = TTLCache(MISSING_KNOWN, MISSING_KNOWN_SECS, timer=timer)
        self._listed: TTLCache[_Place, bool] = TTLCache(PLACES_KNOWN, LISTED_SECS, timer=timer)
        self._refused: TTLCache[_Place, bool] = TTLCache(PLACES_KNOWN, REFUSED_SECS, timer=timer)
        # A lock lives as long as somebody holds it or waits for it.
        self._locks: WeakValueDictionary[_Place, asyncio.Lock] = WeakValueDictionary()
        self._logged = OncePerMessage()

    async def controller_of(self, resource: Resource) -> Resource:
        """The topmost controller; the resource itself where it has none, or nobody can or may know. Raises Transient: ask again."""
        found = resource
        for _ in range(MOST_STEPS):
            kind = _followed(found)
            if kind is None:
                break
            owner = await self._owner_of(kind, _Place(kind.kind, found.namespace), found.name)
            if owner is _NOBODY:
                break
            found = Resource(*owner, namespace=resource.namespace)
        return found

    async def _owner_of(self, kind: ApiResource, place: _Place, name: str) -> _Owner:
        key = (*place, name)
        known = self._known(place, key)
        if known is None:
            # One asks for a place at a time: who waited mostly finds the answer there.
            async with self._locks.setdefault(place, asyncio.Lock()):
                known = self._known(place, key) or await self._ask(kind, place, key)
        return known

    def _known(self, place: _Place, key: _Key) -> _Owner | None:
        """None: it has to be asked. What is known is told also where asking is refused by now."""
        known = self._owners.get(key)
        return _NOBODY if known is None and (key in self._missing or place in self._refused) else known

    async def _ask(self, kind: ApiResource, place: _Place, key: _Key) -> _Owner:
        try:
            if place not in self._listed:
                await self._list(kind, place)
                if (listed := self._owners.get(key)) is not None:
                    return listed
            return await self._get(kind, place, key)
        except Forbidden as exc:
            self._refused[place] = True
            self._log_refusal(exc)
            return _NOBODY
        except Expired as exc:
            # A page of our list, not the place in the reports that the caller reads: it need not begin anew.
            raise Transient(first_line(exc)) from exc

    async def _list(self, kind: ApiResource, place: _Place) -> None:
        """Learn all owners of a place: thousands of reports at a start then cost a few requests."""
        try:
            count = await self._read_pages(kind, place)
            log.debug("owners_listed", resource=kind.full_name, namespace=place.namespace, count=count)
        except Forbidden:
            raise
        except Permanent as exc:
            # Too large, or no such namespace: single reads will tell.
            log.debug("owners_not_listed", resource=kind.full_name, namespace=place.namespace, error=first_line(exc))
        self._listed[place] = True

    async def _read_pages(self, kind: ApiResource, place: _Place) -> int:
        call, token, count = Call("list", kind, place.namespace), "", 0
        while True:
            query = {"limit": str(PAGE_OBJECTS)} | ({"continue": token} if token else {})
            answer = await self._client.send(call, query=query, accept=LIST_METADATA)
            for entry in answer.get("items") or ():
                metadata = entry["metadata"]
                self._owners[*place, metadata["name"]] = _owner_in(metadata)
                count += 1
            token = (answer.get("metadata") or {}).get("continue") or ""
            if not token:
                return count

    async def _get(self, kind: ApiResource, place: _Place, key: _Key) -> _Owner:
        try:
            answer = await self._client.send(Call("get", kind, place.namespace, key[2]), accept=ONE_METADATA)
        except Forbidden:
            raise
        except Permanent:
            # Not there, or nothing that could be there: tools write names.
            self._missing[key] = True
            return _NOBODY
        owner = self._owners[key] = _owner_in(answer.get("metadata") or {})
        return owner

    def _log_refusal(self, refusal: Forbidden) -> None:
        """One line per verb and kind: a hundred namespaces do not say more."""
        permission, _, _ = first_line(refusal).partition(" in ")
        if self._logged.is_new(permission):
            log.warning("permission_missing", error=first_line(refusal), reason="what is found there stays with what the tool names")


def _followed(resource: Resource) -> ApiResource | None:
    """None: it is its own controller. Others have a Job, too (batch.volcano.sh); and tools do not always say the group."""
    kind = _FOLLOWED.get(resource.kind)
    if kind is None or not resource.namespace or not resource.name:
        return None
    group, _, _ = resource.api_version.rpartition("/")
    return kind if not resource.api_version or group == kind.group else None


def _owner_in(metadata: Mapping[str, Any]) -> _Owner:
    """There is one controller at most. The Node that a static Pod runs on is none: the next Pod on it is another one."""
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") is True and reference["kind"] != "Node":
            # The few words that all have in common are kept once.
            return _Owner(intern(reference["apiVersion"]), intern(reference["kind"]), reference["name"])
    return _NOBODY
