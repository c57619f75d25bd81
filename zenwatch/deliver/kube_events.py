"""Create a Kubernetes Event on the resource of each new critical record, so that `kubectl describe` shows it.

In: newly created records.  Out: core/v1 Events, at most one per record and resource.
Owns: a queue of at most `queue_events` records; when it is full, further records are dropped and counted.
Stops: stop() ends its task; queued records are not announced. They are stored all the same.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from cachetools import TTLCache

from zenwatch.contract import Clock
from zenwatch.errors import AlreadyExists, Forbidden, NamespaceTerminating, NotFound, Permanent, Transient, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import find_kind
from zenwatch.kube.http.request import ONE_METADATA, Call
from zenwatch.kube.http.status_errors import permission_of
from zenwatch.kube.kinds import EVENTS
from zenwatch.log import OncePerMessage
from zenwatch.metrics import KUBERNETES_EVENTS
from zenwatch.model.event import Event
from zenwatch.model.finding import Resource, Severity
from zenwatch.model.record import Stored
from zenwatch.model.timestamps import format_rfc3339
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import Supervisor
from zenwatch.runtime.token_bucket import TokenBucket
from zenwatch.sdk.watcher import ApiResource

log = structlog.get_logger(component="announce")

TASK = "announce"
REASON = "CriticalFinding"
# The limit of events.k8s.io for a note, in bytes; core/v1 has none.
MESSAGE_BYTES = 1024
# As in the writer: with back-off about 4 s. An Event is worth less than a record, so that is the end.
TRIES = 4
# A guess: after this time a new or removed CRD is noticed. Clusters serve some hundred kinds; findings are about a dozen of them.
KIND_KNOWN_SECS = 300.0
KINDS_KNOWN = 64
# Their metadata may contain the secret, in the last applied configuration. deployments/events does not grant reading them.
_NEVER_READ = frozenset({"Secret", "ConfigMap"})
# Tools write apiVersion: a value that would lead to another path does not match.
_API_VERSION = re.compile(r"(?:([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)/)?(v[a-z0-9]+)")
# The kubelet's Events on a static Pod carry the digest of its file as uid, and kubectl searches for that.
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class _NewRecord:
    event: Event
    namespace: str
    at: datetime


class KubeEventAnnouncer:
    """announce() never waits; one task creates the Events."""

    def __init__(
        self,
        client: KubeClient,
        supervisor: Supervisor,
        *,
        clock: Clock,
        rate_per_sec: float = 1.0,
        burst: int = 25,
        queue_events: int = 100,
    ) -> None:
        """burst: how many Events may be created at once; after that, rate_per_sec."""
        self._client = client
        self._supervisor = supervisor
        self._clock = clock
        self._rate_limit = TokenBucket(clock, rate_per_sec, burst=burst)
        self._queue: asyncio.Queue[_NewRecord] = asyncio.Queue(maxsize=queue_events)
        # By apiVersion and kind. None: not served.
        self._kinds: TTLCache[tuple[str, str], ApiResource | None] = TTLCache(KINDS_KNOWN, KIND_KNOWN_SECS, timer=clock.monotonic_secs)
        self._logged = OncePerMessage()
        self._is_dropping = False
        self._never = asyncio.Event()

    async def start(self) -> None:
        self._supervisor.start(TASK, self._work)

    async def stop(self) -> None:
        await self._supervisor.stop(TASK)

    def announce(self, event: Event, stored: Stored) -> None:
        """Queue a record that was just created, if it is critical. If the queue is full, drop it and count that."""
        if event.severity is not Severity.CRITICAL:
            return
        if _group_version(event.resource) is None:
            KUBERNETES_EVENTS.labels("skipped").inc()
            return
        try:
            self._queue.put_nowait(_NewRecord(event, stored.namespace, self._clock.now()))
        except asyncio.QueueFull:
            KUBERNETES_EVENTS.labels("dropped").inc()
            if not self._is_dropping:
                self._is_dropping = True
                log.warning("kubernetes_events_dropped", reason="more critical records are new than may be announced; all are stored")

    async def _work(self) -> None:
        while True:
            record = await self._queue.get()
            result = "failed"
            try:
                await self._rate_limit.take()
                result = await self._announce(record)
            finally:
                # Also if this task is cancelled, or fails because of a bug.
                KUBERNETES_EVENTS.labels(result).inc()
            if self._queue.empty():
                self._is_dropping = False

    async def _announce(self, record: _NewRecord) -> str:
        """The result, as the metric's label."""
        attempt = 1
        while True:
            try:
                return await self._create_event(record)
            except (NotFound, NamespaceTerminating):
                # The resource was deleted while its record was written, or this cluster never served its kind.
                return "skipped"
            except Forbidden as exc:
                self._log_refusal(exc)
                return "refused"
            except (Transient, Permanent) as exc:
                failure: ZenwatchError = exc
            if attempt == TRIES or isinstance(failure, Permanent):
                log.warning("kubernetes_event_not_created", name=record.event.name, source=record.event.source, error=first_line(failure))
                return "failed"
            await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, failure, cap_secs=5.0))
            attempt += 1

    async def _create_event(self, record: _NewRecord) -> str:
        resource = record.event.resource
        kind = await self._kind_of(resource)
        if kind is None or (kind.namespaced and not resource.namespace):
            return "skipped"
        namespace = resource.namespace if kind.namespaced else ""
        found = await self._client.send(Call("get", kind, namespace, resource.name), accept=ONE_METADATA)
        made = _event_object(record, namespace, _uid_of(found, kind))
        try:
            await self._client.send(Call("create", EVENTS, made["metadata"]["namespace"]), body=made)
        except AlreadyExists:
            # The answer to an earlier try was lost, or the record was deleted and written again: it is announced already.
            log.debug("kubernetes_event_exists", name=record.event.name)
        return "created"

    async def _kind_of(self, resource: Resource) -> ApiResource | None:
        """None: it is not served."""
        key = (resource.api_version, resource.kind)
        try:
            return self._kinds[key]
        except KeyError:
            group_version = _group_version(resource)
        self._kinds[key] = kind = await find_kind(self._client, *group_version, resource.kind) if group_version else None
        return kind

    def _log_refusal(self, refusal: Forbidden) -> None:
        """One line per verb and kind, for any number of records and namespaces."""
        if self._logged.is_new(permission_of(refusal)):
            advice = "deployments/events/rbac.yaml grants what Events need; add the kind there if it is not among them"
            log.warning("permission_missing", error=first_line(refusal), reason=advice)


def _group_version(resource: Resource) -> tuple[str, str] | None:
    """None: it is no object in the cluster (a file, for example), or one that is never read."""
    match = _API_VERSION.fullmatch(resource.api_version)
    if match is None or not resource.kind or not resource.name or resource.kind in _NEVER_READ:
        return None
    return match[1] or "", match[2]


def _uid_of(found: Any, kind: ApiResource) -> str:
    """The uid by which `kubectl describe` searches for Events."""
    metadata = found.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    annotations = metadata.get("annotations")
    mirrored = annotations.get(_MIRROR) if kind.plural == "pods" and not kind.group and isinstance(annotations, dict) else None
    uid = mirrored or metadata.get("uid")
    if not isinstance(uid, str) or not uid:
        raise Permanent(f"the API server sent {kind.full_name} without a uid")
    return uid


def _event_object(record: _NewRecord, namespace: str, uid: str) -> dict[str, Any]:
    """namespace: of the resource; empty for a cluster-scoped one, whose Event is created in `default`, as client-go does."""
    resource, at = record.event.resource, format_rfc3339(record.at)
    return {
        "apiVersion": "v1",
        "kind": EVENTS.kind,
        "metadata": {
            # The same after a restart; another name for a new Pod of the same name, because kubectl distinguishes them too.
            "name": f"{record.event.name}.{hashlib.sha256(uid.encode()).hexdigest()[:10]}",
            "namespace": namespace or "default",
            "labels": {"app.kubernetes.io/managed-by": "zenwatch"},
        },
        "involvedObject": {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "name": resource.name,
            "uid": uid,
            **({"namespace": namespace} if namespace else {}),
        },
        "type": "Warning",
        "reason": REASON,
        "message": _message(record),
        "source": {"component": "zenwatch"},
        "reportingComponent": "zen.kube-zen.io/zenwatch",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def _message(record: _NewRecord) -> str:
    """Plain text for a terminal: one line, no control characters, and the record's name even if the rest is cut."""
    event = record.event
    text = f"{event.title} ({event.source}, score {event.score})" + (f": {event.remediation}" if event.remediation else "")
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    suffix = f"; record {record.namespace}/{event.name}"
    limit_bytes = MESSAGE_BYTES - len(suffix)
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > limit_bytes:
        text = encoded[: limit_bytes - len("…".encode())].decode("utf-8", "ignore") + "…"
    return text + suffix
