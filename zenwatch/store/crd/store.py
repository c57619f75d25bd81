"""Records as ZenAgentEvent custom resources of one API server: contract.Store over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from zenwatch.contract import Gone, Put, Synced
from zenwatch.errors import AlreadyExists, Invalid, NamespaceTerminating, NoNamespace, NotFound, Transient, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import served_plurals
from zenwatch.kube.http.request import Call
from zenwatch.kube.kinds import RECORDS
from zenwatch.kube.list_watch import Change, ListComplete, ListWatch, Page
from zenwatch.kube.paging import listed_objects
from zenwatch.kube.records import (
    CLUSTER_LABEL,
    MANAGED_BY_LABEL,
    REPORT_ANNOTATION,
    SPEC_HASH_ANNOTATION,
    labels_of,
    namespace_of,
    object_of,
    stored_of,
)
from zenwatch.metrics import RECORD_WRITES
from zenwatch.model.event import Event
from zenwatch.model.record import Phase, Status, Stored, spec_of
from zenwatch.model.refs import ReportRef
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.store.crd.labels import Labels

_NOT_SERVED = f"{RECORDS.full_name} is not served: apply the CRDs with `zenwatch crds | kubectl apply -f -`"
CHECK_TIMEOUT_SECS = 3.0
_JSON_PATCH = "application/json-patch+json"
_MERGE_PATCH = "application/merge-patch+json"
# Immutable (CEL in the CRD), or of the first sighting.
_NEVER_UPDATED = frozenset({"source", "clusterID", "key", "detectedAt"})
_OPTIONAL = ("remediation", "references", "resource")


class CrdStore:
    def __init__(self, client: KubeClient, *, cluster_ids: Collection[str], own_namespace: str, namespaces: Sequence[str] = ()) -> None:
        """cluster_ids: whose records they are. namespaces: the only ones that we may work in, beside our own; empty: all."""
        self._client = client
        self._own_namespace = own_namespace
        self._selector = f"{MANAGED_BY_LABEL}=zenwatch,{CLUSTER_LABEL} in ({','.join(sorted(cluster_ids))})"
        self._parts = tuple(dict.fromkeys([*namespaces, own_namespace])) if namespaces else ("",)
        self._labels = Labels(client, cluster_ids, self._parts)

    async def ping(self) -> None:
        with suppress(NotFound):
            await self._client.send(Call("get", RECORDS, self._own_namespace, "ping"))

    async def check(self) -> tuple[bool, list[str]]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECS):
                served = await served_plurals(self._client, RECORDS.group, RECORDS.version)
        except TimeoutError:
            return False, [f"apiserver fails: no answer within {CHECK_TIMEOUT_SECS:g} s", "crds unknown"]
        except ZenwatchError as exc:
            return False, [f"apiserver fails: {first_line(exc)}", "crds unknown"]
        if RECORDS.plural not in served:
            reason = f"{RECORDS.plural} is not served; apply them with `zenwatch crds | kubectl apply -f -`"
            return False, ["apiserver ok", f"crds fail: {reason}"]
        return True, ["apiserver ok", "crds ok"]

    @property
    def parts(self) -> Sequence[str]:
        return self._parts

    def target_of(self, event: Event) -> str:
        namespace = namespace_of(event, own_namespace=self._own_namespace)
        return namespace if self._parts == ("",) or namespace in self._parts else self._own_namespace

    async def create(self, event: Event, *, spec_hash: str, report: ReportRef | None = None) -> tuple[Stored, bool]:
        namespace = self.target_of(event)
        if namespace == self._own_namespace:
            return await self._create_in_own(event, spec_hash, report)
        try:
            return await self._create_in(namespace, event, spec_hash, report)
        except (NotFound, NamespaceTerminating):
            return await self._create_in_own(event, spec_hash, report)

    async def _create_in_own(self, event: Event, spec_hash: str, report: ReportRef | None) -> tuple[Stored, bool]:
        try:
            return await self._create_in(self._own_namespace, event, spec_hash, report)
        except (NotFound, NamespaceTerminating) as exc:
            raise NoNamespace(
                f"zenwatch's own namespace {self._own_namespace} cannot take records: create it, or set POD_NAMESPACE"
            ) from exc

    async def update(self, event: Event, *, spec_hash: str, stored: Stored, report: ReportRef | None = None) -> Stored:
        # A merge patch would leave fields in details that the finding no longer has; this replaces field by field.
        spec = spec_of(event)
        changes = [_put(f"/spec/{field}", value) for field, value in spec.items() if field not in _NEVER_UPDATED]
        for field in _OPTIONAL:
            if field not in spec:
                # `remove` alone fails where there is nothing to remove.
                changes += [_put(f"/spec/{field}", {} if field == "resource" else ""), {"op": "remove", "path": f"/spec/{field}"}]
        # A write that we gave up may land late: then it must not undo a newer one.
        changes.append(_put("/metadata/resourceVersion", str(stored.version)))
        labels = labels_of(event.source, event.category, event.severity, event.cluster_id)
        changes += [_put(f"/metadata/labels/{_escaped(name)}", value) for name, value in labels.items()]
        changes.append(_put(_annotation(SPEC_HASH_ANNOTATION), spec_hash))
        if report:
            changes.append(_put(_annotation(REPORT_ANNOTATION), str(report)))
        call = Call("patch", RECORDS, stored.namespace, stored.name)
        try:
            answer = await self._client.send(call, body=changes, content_type=_JSON_PATCH)
        except Invalid:
            # JSON Patch cannot add below a map that is missing: somebody took all labels or annotations away.
            metadata = object_of(event, namespace=stored.namespace, hash_of_spec="")["metadata"]
            mended = await self._client.send(call, body={"metadata": metadata}, content_type=_MERGE_PATCH)
            changes.append(_put("/metadata/resourceVersion", mended["metadata"]["resourceVersion"]))
            answer = await self._client.send(call, body=changes, content_type=_JSON_PATCH)
        RECORD_WRITES.labels("update").inc()
        return stored_of(answer)

    async def set_status(self, stored: Stored, status: Status, *, now: datetime) -> Stored:
        call = Call("patch", RECORDS, stored.namespace, stored.name, "status")
        first_seen = format_rfc3339(datetime.fromtimestamp(stored.first_seen, UTC))
        fields = {
            "phase": status.phase,
            "count": status.count,
            "reopened": status.reopened,
            "firstSeen": first_seen,
            "lastSeen": max(first_seen, format_rfc3339(status.seen_at or now)),
            # null takes it away: a record that is open again was not resolved.
            "resolvedAt": format_rfc3339(now) if status.phase == Phase.RESOLVED else None,
        } | ({"reason": status.reason} if status.reason is not None else {})
        body = {"metadata": {"resourceVersion": str(stored.version)}, "status": fields}
        answer = await self._client.send(call, body=body, content_type=_MERGE_PATCH)
        RECORD_WRITES.labels("status").inc()
        return stored_of(answer)

    async def delete(self, stored: Stored) -> None:
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"resourceVersion": str(stored.version)}}
        await self._client.send(Call("delete", RECORDS, stored.namespace, stored.name), body=body)
        RECORD_WRITES.labels("delete").inc()

    async def mend(self) -> int:
        return await self._labels.mend()

    async def read(self, stored: Stored) -> Mapping[str, Any]:
        record: Mapping[str, Any] = await self._client.send(Call("get", RECORDS, stored.namespace, stored.name))
        return record

    async def find(self, query: str) -> AsyncIterator[Mapping[str, Any]]:
        """Every record of this name or key. Keys cannot be selected by the API server: all records are read, page by page."""
        for part in self._parts:
            async for record in listed_objects(self._client, Call("list", RECORDS, part), query={"labelSelector": self._selector}):
                if query in (record["metadata"]["name"], record["spec"].get("key")):
                    yield record

    async def follow(self, part: str = "") -> AsyncIterator[Put | Gone | Synced]:
        follower = ListWatch(self._client, RECORDS, namespace=part, label_selector=self._selector)
        try:
            async for signal in follower.signals():
                match signal:
                    case Page(answer):
                        for record in answer.get("items") or ():
                            self._labels.observe(record)
                            yield Put(stored_of(record))
                    case ListComplete():
                        yield Synced()
                    case Change(kind, record):
                        stored = stored_of(record)
                        self._labels.observe(record, is_gone=kind == "DELETED")
                        yield Gone(stored.name, stored.version) if kind == "DELETED" else Put(stored)
        except NotFound as exc:
            raise Transient(_NOT_SERVED) from exc

    async def _create_in(self, namespace: str, event: Event, spec_hash: str, report: ReportRef | None) -> tuple[Stored, bool]:
        body = object_of(event, namespace=namespace, hash_of_spec=spec_hash, report=report)
        try:
            answer = await self._client.send(Call("create", RECORDS, namespace), body=body)
        except NotFound as exc:
            if exc.missing_kind != "namespaces":
                raise Transient(_NOT_SERVED) from exc
            raise
        except AlreadyExists:
            # Another replica, or we before a restart, already stored it. Success, not an error.
            return await self._stored_as(namespace, event.name), False
        RECORD_WRITES.labels("create").inc()
        return stored_of(answer), True

    async def _stored_as(self, namespace: str, name: str) -> Stored:
        try:
            return stored_of(await self._client.send(Call("get", RECORDS, namespace, name)))
        except NotFound as exc:
            raise Transient(f"the record {name} was there and is gone again") from exc


def _put(path: str, value: Any) -> dict[str, Any]:
    """JSON Patch's `add` replaces what is there and adds what is not (RFC 6902, section 4.1)."""
    return {"op": "add", "path": path, "value": value}


def _annotation(name: str) -> str:
    return f"/metadata/annotations/{_escaped(name)}"


def _escaped(name: str) -> str:
    return name.replace("/", "~1")
