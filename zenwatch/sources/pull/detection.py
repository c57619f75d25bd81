"""Tell whether a tool is there: its kinds are served, its pods run, or it has left labelled objects.

In: the state of its Reports, the API server's discovery, its pods.  Out: a line in the log when it changes; a gauge.
Owns: what was found last.
Stops: nothing to stop.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import structlog

from zenwatch.contract import Clock
from zenwatch.errors import NotFound, Permanent, ZenwatchError, first_line
from zenwatch.kube.client import Call, KubeClient
from zenwatch.log import OncePerMessage
from zenwatch.metrics import TOOL_INSTALLED
from zenwatch.sdk.watcher import ApiResource, PushWatcher, Watcher
from zenwatch.sources.pull.informer import ReportInformer, State

log = structlog.get_logger(component="detect")

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
PODS = ApiResource("", "v1", "pods", "Pod")


class Detector:
    """namespace: where the tool's pods are looked for; empty: not at all."""

    def __init__(self, client: KubeClient, watcher: Watcher | PushWatcher, reports: Sequence[ReportInformer], *, namespace: str) -> None:
        self._client = client
        self._watcher = watcher
        self._reports = reports
        self._namespace = namespace
        self._is_installed: bool | None = None
        self._pods_refused = False
        self._logged = OncePerMessage()

    @property
    def is_installed(self) -> bool:
        """What the last look found."""
        return bool(self._is_installed)

    async def look(self) -> list[str]:
        """What speaks for the tool being there; nothing: it is not installed. Kinds that came to be served are read from now on."""
        await self._find_kinds()
        evidence = [*self._read_kinds(), *await self._running_pods()]
        if bool(evidence) is not self._is_installed:
            self._is_installed = bool(evidence)
            TOOL_INSTALLED.labels(self._watcher.name).set(self._is_installed)
            state = "installed" if evidence else "not_installed"
            log.info("tool_state_changed", source=self._watcher.name, state=state, reason="; ".join(evidence))
        return evidence

    async def keep_looking(self, *, interval_secs: float, clock: Clock) -> None:
        """For a tool that posts: there is no round that would ask. Run for ever, unless there is nothing to look for."""
        never = asyncio.Event()
        while self._namespace:
            try:
                await self.look()
            except ZenwatchError as exc:
                log.debug("detection_failed", source=self._watcher.name, error=first_line(exc))
            await clock.wait(never, timeout_secs=interval_secs)

    async def _find_kinds(self) -> None:
        missing = [reports for reports in self._reports if reports.state is State.NOT_SERVED]
        for group, version in {(reports.place.resource.group, reports.place.resource.version) for reports in missing}:
            served = await self._served(group, version)
            for reports in missing:
                resource = reports.place.resource
                if (resource.group, resource.version) != (group, version):
                    continue
                if served is None or resource.plural in served:
                    reports.look_again()
                else:
                    reports.is_gone()

    async def _served(self, group: str, version: str) -> frozenset[str] | None:
        """None: we may not know, so each kind has to ask for itself."""
        try:
            return await self._client.served(group, version)
        except Permanent as exc:
            self._log_refusal(exc)
            return None

    def _read_kinds(self) -> list[str]:
        """ConfigMaps are served everywhere: only some with the tool's label speak for it."""
        read = [reports for reports in self._reports if reports.is_followed]
        shared = [reports for reports in read if reports.place.resource.label_selector]
        own = dict.fromkeys(f"{reports.place.resource.full_name} served" for reports in read if reports not in shared)
        labelled = sum(reports.objects for reports in shared)
        return [*own, *([f"{labelled} labelled objects"] if labelled else [])]

    async def _running_pods(self) -> list[str]:
        if not self._namespace or self._pods_refused:
            return []
        try:
            has_pods = await _count(self._client, PODS, self._namespace, self._watcher.pod_labels)
        except Permanent as exc:
            # It only costs this hint; the reports are read all the same.
            self._pods_refused = True
            self._log_refusal(exc)
            return []
        return [f"pods in {self._namespace}"] if has_pods else []

    def _log_refusal(self, refusal: Permanent) -> None:
        if self._logged.is_new(sentence := first_line(refusal)):
            log.warning("detection_refused", source=self._watcher.name, error=sentence)


async def survey(client: KubeClient, watcher: Watcher | PushWatcher, *, namespace: str) -> AsyncIterator[str]:
    """One look without following anything: what is there of each kind, and of the tool's pods."""
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


async def _count(client: KubeClient, resource: ApiResource, namespace: str, labels: str) -> int:
    """How many there are; of those with a label at most 500, since the API server does not count what a selector leaves out."""
    query = {"limit": "500" if labels else "1"} | ({"labelSelector": labels} if labels else {})
    answer = await client.send(Call("list", resource, namespace), query=query, accept=METADATA_ONLY)
    return len(answer.get("items") or ()) + int((answer.get("metadata") or {}).get("remainingItemCount") or 0)
