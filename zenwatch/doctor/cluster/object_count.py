"""Count objects, and find when the newest was written, from their metadata alone."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import LIST_METADATA, Call
from zenwatch.kube.paging import PAGE_MOST_OBJECTS, pages
from zenwatch.model.timestamps import parse_rfc3339
from zenwatch.sdk.watcher import ApiResource

# A guess at how long a person waits: this many are 40 requests. If there are more, the number is printed as "more than".
MAX_OBJECTS = 20_000

Metadata = Mapping[str, Any]


@dataclass(slots=True)
class ObjectCount:
    """newest: when an object was last written. is_cut: there are more objects, but counting stopped at MAX_OBJECTS."""

    objects: int = 0
    newest: datetime | None = None
    is_cut: bool = False

    def __str__(self) -> str:
        return f"more than {self.objects}" if self.is_cut else str(self.objects)

    def add_object(self, metadata: Metadata) -> None:
        self.objects += 1
        if (written := _written_at(metadata)) and (self.newest is None or written > self.newest):
            self.newest = written

    def add_count(self, other: "ObjectCount") -> None:
        self.objects += other.objects
        self.newest = max((moment for moment in (self.newest, other.newest) if moment), default=None)
        self.is_cut = self.is_cut or other.is_cut


class MetadataList:
    """The metadata of all objects of a kind. is_cut: after the iteration, whether it stopped at MAX_OBJECTS."""

    def __init__(self, client: KubeClient, resource: ApiResource, namespace: str = "", *, field_selector: str = "") -> None:
        self._client = client
        self._call = Call("list", resource, namespace)
        selectors = {"labelSelector": resource.label_selector, "fieldSelector": field_selector}
        self._query = {name: selector for name, selector in selectors.items() if selector}
        self.is_cut = False

    async def __aiter__(self) -> AsyncIterator[Metadata]:
        """Raises what KubeClient.send does."""
        read = 0
        answers = pages(self._client, self._call, query=self._query, accept=LIST_METADATA, first_objects=PAGE_MOST_OBJECTS)
        async with aclosing(answers):
            async for page in answers:
                for entry in page.get("items") or ():
                    read += 1
                    yield entry.get("metadata") or {}
                if read >= MAX_OBJECTS and (page.get("metadata") or {}).get("continue"):
                    self.is_cut = True
                    return


async def count_objects(client: KubeClient, resource: ApiResource, namespace: str = "") -> ObjectCount:
    """Count the objects that match the resource's label selector. Raises what KubeClient.send does."""
    count, objects = ObjectCount(), MetadataList(client, resource, namespace)
    async for metadata in objects:
        count.add_object(metadata)
    count.is_cut = objects.is_cut
    return count


def _written_at(metadata: Metadata) -> datetime | None:
    """When the object was created or last changed. The API server notes the time of each writer's last change."""
    times = [metadata.get("creationTimestamp"), *(field.get("time") for field in metadata.get("managedFields") or ())]
    return max((moment for moment in map(parse_rfc3339, times) if moment), default=None)
