"""Detect whether a tool is installed: its kinds are served, its pods run, or labelled objects of it exist.

In: the state of its informers, the API server's discovery, its pods.  Out: a log line when the answer changes; a gauge.
Owns: the last answer.
Stops: with the task that runs keep_detecting().
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import structlog

from zenwatch.contract import Clock
from zenwatch.errors import NotFound, Permanent, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.cluster import Cluster
from zenwatch.kube.discovery import served_plurals
from zenwatch.kube.http.request import LIST_METADATA, Call
from zenwatch.kube.kinds import PODS
from zenwatch.kube.paging import PAGE_MOST_OBJECTS, pages
from zenwatch.log import OncePerMessage
from zenwatch.metrics import TOOL_INSTALLED
from zenwatch.model.refs import Origin
from zenwatch.sdk.watcher import ApiResource, PushWatcher, Watcher
from zenwatch.sources.pull.informer import ReportInformer, State

log = structlog.get_logger(component="detect")


class Detector:
    """namespace: where the tool's pods are searched; empty: nowhere."""

    def __init__(self, cluster: Cluster, watcher: Watcher | PushWatcher, informers: Sequence[ReportInformer], *, namespace: str) -> None:
        self._client = cluster.client
        self._origin = Origin(cluster.id, watcher.name)
        self._watcher = watcher
        self._informers = informers
        self._namespace = namespace
        self._is_installed: bool | None = None
        self._pods_refused = False
        self._logged = OncePerMessage()

    @property
    def is_installed(self) -> bool:
        """The result of the last detect()."""
        return bool(self._is_installed)

    async def detect(self) -> list[str]:
        """What shows that the tool is installed; empty: it is not. Informers of kinds that are served by now begin to list them."""
        await self._find_served_kinds()
        evidence = [*self._followed_kinds(), *await self._running_pods()]
        if bool(evidence) is not self._is_installed:
            self._is_installed = bool(evidence)
            TOOL_INSTALLED.labels(self._origin.source).set(self._is_installed)
            state = "installed" if evidence else "not_installed"
            log.info(
                "tool_state_changed",
                cluster_id=self._origin.cluster_id,
                source=self._origin.source,
                state=state,
                reason="; ".join(evidence),
            )
        return evidence

    async def keep_detecting(self, *, interval_secs: float, clock: Clock) -> None:
        """For a tool that pushes: no reconcile loop calls detect(). Runs until cancelled; returns if there is nothing to search."""
        never = asyncio.Event()
        while self._namespace:
            try:
                await self.detect()
            except ZenwatchError as exc:
                log.debug("detection_failed", cluster_id=self._origin.cluster_id, source=self._origin.source, error=first_line(exc))
            await clock.wait(never, timeout_secs=interval_secs)

    async def _find_served_kinds(self) -> None:
        """One request per group and version, however many kinds are missing."""
        missing = [informer for informer in self._informers if informer.state is State.NOT_SERVED]
        for group, version in {(informer.resource.group, informer.resource.version) for informer in missing}:
            plurals = await self._served_plurals(group, version)
            for informer in missing:
                if (informer.resource.group, informer.resource.version) != (group, version):
                    continue
                if plurals is None or informer.resource.plural in plurals:
                    informer.mark_served()
                else:
                    informer.mark_unserved()

    async def _served_plurals(self, group: str, version: str) -> frozenset[str] | None:
        """None: discovery is refused, so each informer has to try for itself."""
        try:
            return await served_plurals(self._client, group, version)
        except Permanent as exc:
            self._log_refusal(exc)
            return None

    def _followed_kinds(self) -> list[str]:
        """ConfigMaps are served everywhere: such a kind counts only if objects with the tool's label exist."""
        followed = [informer for informer in self._informers if informer.is_followed]
        shared = [informer for informer in followed if informer.resource.label_selector]
        own = dict.fromkeys(f"{informer.resource.full_name} served" for informer in followed if informer not in shared)
        labelled = sum(informer.objects for informer in shared)
        return [*own, *([f"{labelled} labelled objects"] if labelled else [])]

    async def _running_pods(self) -> list[str]:
        if not self._namespace or self._pods_refused:
            return []
        try:
            has_pods = await _has_any(self._client, PODS, self._namespace, self._watcher.pod_labels)
        except Permanent as exc:
            # Only this hint is lost; the reports are read all the same.
            self._pods_refused = True
            self._log_refusal(exc)
            return []
        return [f"pods in {self._namespace}"] if has_pods else []

    def _log_refusal(self, refusal: Permanent) -> None:
        if self._logged.is_new(sentence := first_line(refusal)):
            log.warning("detection_refused", cluster_id=self._origin.cluster_id, source=self._origin.source, error=sentence)


async def survey(client: KubeClient, watcher: Watcher | PushWatcher, *, namespace: str) -> AsyncIterator[str]:
    """One line for each kind of the tool and for its pods: how many objects exist, or why that is unknown."""
    for resource in watcher.reads:
        try:
            count = await _count(client, resource, "", resource.label_selector)
            yield f"{count} {resource.full_name}" + (f" labelled {resource.label_selector}" if resource.label_selector else "")
        except NotFound:
            yield f"{resource.full_name} is not served: the tool is not installed, or does not write it"
        except ZenwatchError as exc:
            yield first_line(exc)
    if namespace:
        try:
            yield f"{await _count(client, PODS, namespace, watcher.pod_labels)} pods in namespace {namespace}"
        except ZenwatchError as exc:
            yield first_line(exc)


async def _has_any(client: KubeClient, resource: ApiResource, namespace: str, labels: str) -> bool:
    query = {"limit": "1"} | _selector(labels)
    return bool((await client.send(Call("list", resource, namespace), query=query, accept=LIST_METADATA)).get("items"))


async def _count(client: KubeClient, resource: ApiResource, namespace: str, labels: str) -> int:
    """The API server counts what it leaves out of a page, but not with a selector: then every page is read."""
    call, count = Call("list", resource, namespace), 0
    first_objects = PAGE_MOST_OBJECTS if labels else 1
    async with aclosing(pages(client, call, query=_selector(labels), accept=LIST_METADATA, first_objects=first_objects)) as answers:
        async for page in answers:
            count += len(page.get("items") or ())
            if remaining := (page.get("metadata") or {}).get("remainingItemCount"):
                return count + int(remaining)
    return count


def _selector(labels: str) -> dict[str, str]:
    return {"labelSelector": labels} if labels else {}
