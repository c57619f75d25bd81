"""Put the labels of records back where somebody changed them: they follow from the spec, so that no finding has to come again.

zenwatch finds its records by two of their labels. Without these a record is never read, resolved or deleted again, unless somebody looks
for it.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

import structlog

from zenwatch.errors import Conflict, Invalid, NotFound, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.kube.kinds import RECORDS
from zenwatch.kube.paging import listed_objects
from zenwatch.kube.records import CLUSTER_LABEL, MANAGED_BY_LABEL, missing_labels
from zenwatch.log import OncePerMessage
from zenwatch.model.event import record_name

log = structlog.get_logger(component="labels")

_MERGE_PATCH = "application/merge-patch+json"


class Labels:
    """observe() what is read, mend() what is wrong. A record that somebody changes all the time is written once per mend()."""

    def __init__(self, client: KubeClient, cluster_ids: Collection[str], parts: Sequence[str]) -> None:
        """cluster_ids: whose records they are. parts: the namespaces that may hold them; the empty one stands for all."""
        self._client = client
        self._cluster_ids = sorted(cluster_ids)
        self._parts = parts
        # Name → namespace of records that have the two labels, and not the others.
        self._wrong: dict[str, str] = {}
        self._has_field_selectors = True
        self._logged = OncePerMessage()

    def observe(self, record: Mapping[str, Any], *, is_gone: bool = False) -> None:
        metadata = record["metadata"]
        if not is_gone and missing_labels(record):
            self._wrong[metadata["name"]] = metadata["namespace"]
        else:
            self._wrong.pop(metadata["name"], None)

    async def mend(self) -> int:
        """Return for how many records. Raises Transient and Forbidden; what is refused for another reason is logged once."""
        mended = 0
        async for record in self._all_wrong():
            try:
                mended += await self._write(record)
            except (NotFound, Conflict):
                # Whoever changed it is seen by the watch, or the next time.
                continue
            except Invalid as exc:
                if self._logged.is_new(sentence := first_line(exc)):
                    log.warning("labels_not_restored", name=record["metadata"]["name"], error=sentence)
        return mended

    async def _write(self, record: Mapping[str, Any]) -> bool:
        metadata, labels = record["metadata"], missing_labels(record)
        if not labels:
            return False
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "labels": labels}}
        await self._client.send(Call("patch", RECORDS, metadata["namespace"], metadata["name"]), body=body, content_type=_MERGE_PATCH)
        return True

    async def _all_wrong(self) -> AsyncIterator[Mapping[str, Any]]:
        for name, namespace in list(self._wrong.items()):
            try:
                yield await self._client.send(Call("get", RECORDS, namespace, name))
            except NotFound:
                self._wrong.pop(name, None)
        for part in self._parts:
            for cluster_id in self._cluster_ids:
                # A list knows no "or". Each of the two is empty where nobody changed anything.
                for selector in (f"{MANAGED_BY_LABEL}!=zenwatch", f"{CLUSTER_LABEL}!={cluster_id}"):
                    async for record in self._hidden(part, cluster_id, selector):
                        yield record

    async def _hidden(self, part: str, cluster_id: str, selector: str) -> AsyncIterator[Mapping[str, Any]]:
        """Our records that the selector finds."""
        query = {"labelSelector": selector}
        if self._has_field_selectors:
            query["fieldSelector"] = f"spec.clusterID={cluster_id}"
        elif selector.startswith(CLUSTER_LABEL):
            # Without field selectors the records of all other clusters would come. Those with a wrong label stay unseen.
            query["labelSelector"] = f"!{CLUSTER_LABEL}"
        try:
            async for record in listed_objects(self._client, Call("list", RECORDS, part), query=query):
                if _is_ours(record, cluster_id):
                    yield record
        except Invalid:
            # Before Kubernetes 1.31 the fields of a custom resource cannot be selected.
            self._has_field_selectors = False
        except NotFound:
            # The namespace, or our kind: whoever reads the records reports it.
            return


def _is_ours(record: Mapping[str, Any], cluster_id: str) -> bool:
    """Whether its name is made of its content. Other programs may write records, too, which are not ours to change."""
    spec, name = record["spec"], record["metadata"]["name"]
    digest = record_name("", cluster_id=cluster_id, source=spec.get("source", ""), key=spec.get("key", ""))
    return spec.get("clusterID") == cluster_id and str(name).endswith(digest)
