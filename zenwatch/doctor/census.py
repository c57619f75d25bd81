"""How many objects there are, and when the newest was written: of their metadata alone.

In: pages of a list.  Out: a Census; of our own records one for each source.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zenwatch.doctor.permissions import RECORDS, store_parts
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import LIST_METADATA, Call
from zenwatch.model.record import CLUSTER_LABEL, Phase
from zenwatch.model.timestamps import parse_rfc3339
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.watcher import ApiResource

PAGE_OBJECTS = 500
# A guess at what a person waits for: 20,000 objects are 40 requests. The rest is said to be more.
MOST_PAGES = 40


@dataclass(slots=True)
class Census:
    """objects: so many, or where is_cut more than that. newest: when one of them was written last."""

    objects: int = 0
    newest: datetime | None = None
    is_cut: bool = False

    def __str__(self) -> str:
        return f"more than {self.objects}" if self.is_cut else str(self.objects)

    def take(self, metadata: Mapping[str, Any]) -> None:
        self.objects += 1
        if (written := _written_at(metadata)) and (self.newest is None or written > self.newest):
            self.newest = written

    def add(self, other: "Census") -> None:
        self.objects += other.objects
        self.newest = max((moment for moment in (self.newest, other.newest) if moment), default=None)
        self.is_cut = self.is_cut or other.is_cut


async def count(client: KubeClient, resource: ApiResource, namespace: str = "") -> Census:
    """Of the objects that its label selector lets through. Raises what KubeClient.send does."""
    census = Census()
    query = {"labelSelector": resource.label_selector} if resource.label_selector else {}
    async for metadata in _metadata(client, Call("list", resource, namespace), query, census):
        census.take(metadata)
    return census


async def count_open(client: KubeClient, settings: Settings) -> dict[str, Census]:
    """Our open records, by source; a source without one is missing. Raises what KubeClient.send does."""
    found: dict[str, Census] = {}
    query = {
        "labelSelector": f"app.kubernetes.io/managed-by=zenwatch,{CLUSTER_LABEL}={settings.cluster_id}",
        "fieldSelector": f"status.phase={Phase.OPEN}",
    }
    whole = Census()
    for part in store_parts(settings):
        async for metadata in _metadata(client, Call("list", RECORDS, part), query, whole):
            found.setdefault(str((metadata.get("labels") or {}).get("source")), Census()).take(metadata)
    for census in found.values():
        census.is_cut = whole.is_cut
    return found


async def _metadata(client: KubeClient, call: Call, query: Mapping[str, str], census: Census) -> AsyncIterator[Mapping[str, Any]]:
    place: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        page = await client.send(call, query={"limit": str(PAGE_OBJECTS), **query, **place}, accept=LIST_METADATA)
        for entry in page.get("items") or ():
            yield entry.get("metadata") or {}
        if not (token := (page.get("metadata") or {}).get("continue")):
            return
        place = {"continue": token}
    census.is_cut = True


def _written_at(metadata: Mapping[str, Any]) -> datetime | None:
    """When it was created or, as the API server notes for each writer, changed."""
    times = [metadata.get("creationTimestamp"), *(field.get("time") for field in metadata.get("managedFields") or ())]
    return max((moment for moment in map(parse_rfc3339, times) if moment), default=None)
