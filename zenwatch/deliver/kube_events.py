"""Make a Kubernetes Event on the resource of a new critical record, so that `kubectl describe` shows it.

In: newly created records, from the writer.  Out: core/v1 Events, at most one per record and resource.
Owns: at most `queue_events` records that wait; full means that one more is dropped and counted. Where the kinds are served, for a while.
Stops: with its task; what waits then is not announced. The records are there all the same.
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
from zenwatch.runtime.token_bucket import TokenBucket
from zenwatch.sdk.watcher import ApiResource

log = structlog.get_logger(component="announce")

REASON = "CriticalFinding"
# What events.k8s.io takes as a note, counted in bytes; core/v1 has no limit of its own.
MESSAGE_BYTES = 1024
# As in the writer: with back-off about 4 s. An Event is worth less than a record, so nobody tries again after that.
TRIES = 4
# A guess: a kind whose CRD came or went is seen after so long. Clusters serve some hundred kinds, findings are about a dozen.
KIND_KNOWN_SECS = 300.0
KINDS_KNOWN = 64
# The metadata may hold the content, as the last applied configuration. deployments/events does not grant them.
_NEVER_READ = frozenset({"Secret", "ConfigMap"})
# Tools write apiVersion: one that would lead to another path is none.
_API_VERSION = re.compile(r"(?:([a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)/)?(v[a-z0-9]+)")
# The kubelet reports on a static Pod under the digest of its file, and there kubectl looks.
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True)
class _Told:
    event: Event
    namespace: str
    at: datetime


class KubeEventAnnouncer:
    """tell() is called by whoever created the record; work() is run by one supervised task."""

    def __init__(self, client: KubeClient, *, clock: Clock, rate_per_sec: float = 1.0, burst: int = 25, queue_events: int = 100) -> None:
        """burst: so many go at once after a silence; from then on rate_per_sec."""
        self._client = client
        self._clock = clock
        self._bucket = TokenBucket(clock, rate_per_sec, burst=burst)
        self._queue: asyncio.Queue[_Told] = asyncio.Queue(maxsize=queue_events)
        # None: not served.
        self._kinds: TTLCache[tuple[str, str], ApiResource | None] = TTLCache(KINDS_KNOWN, KIND_KNOWN_SECS, timer=clock.monotonic_secs)
        self._logged = OncePerMessage()
        self._is_dropping = False
        self._never = asyncio.Event()

    def tell(self, event: Event, stored: Stored) -> None:
        """A record was created; if it is critical, that is announced. Never waits."""
        if event.severity is not Severity.CRITICAL:
            return
        if _group_version(event.resource) is None:
            KUBERNETES_EVENTS.labels("skipped").inc()
            return
        try:
            self._queue.put_nowait(_Told(event, stored.namespace, self._clock.now()))
        except asyncio.QueueFull:
            KUBERNETES_EVENTS.labels("dropped").inc()
            if not self._is_dropping:
                self._is_dropping = True
                log.warning("kubernetes_events_dropped", reason="more critical records are new than may be announced; all are stored")

    async def work(self) -> None:
        while True:
            told = await self._queue.get()
            result = "failed"
            try:
                await self._bucket.take()
                result = await self._announce(told)
            finally:
                # Also when this task is cancelled, or stumbles over a bug.
                KUBERNETES_EVENTS.labels(result).inc()
            if self._queue.empty():
                self._is_dropping = False

    async def _announce(self, told: _Told) -> str:
        """What became of it, as the metric calls it."""
        attempt = 1
        while True:
            try:
                return await self._try(told)
            except (NotFound, NamespaceTerminating):
                # The resource went while its record was written, or its kind was never served here.
                return "skipped"
            except Forbidden as exc:
                self._log_refusal(exc)
                return "refused"
            except (Transient, Permanent) as exc:
                failure: ZenwatchError = exc
            if attempt == TRIES or isinstance(failure, Permanent):
                log.warning("kubernetes_event_not_created", name=told.event.name, source=told.event.source, error=first_line(failure))
                return "failed"
            await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, failure, cap_secs=5.0))
            attempt += 1

    async def _try(self, told: _Told) -> str:
        resource = told.event.resource
        kind = await self._kind_of(resource)
        if kind is None or (kind.namespaced and not resource.namespace):
            return "skipped"
        namespace = resource.namespace if kind.namespaced else ""
        found = await self._client.send(Call("get", kind, namespace, resource.name), accept=ONE_METADATA)
        made = _event_object(told, namespace, _uid_of(found, kind))
        try:
            await self._client.send(Call("create", EVENTS, made["metadata"]["namespace"]), body=made)
        except AlreadyExists:
            # The answer to an earlier try was lost, or the record was deleted and written again: it is announced.
            log.debug("kubernetes_event_exists", name=told.event.name)
        return "created"

    async def _kind_of(self, resource: Resource) -> ApiResource | None:
        """None: it is not served."""
        key = (resource.api_version, resource.kind)
        try:
            return self._kinds[key]
        except KeyError:
            place = _group_version(resource)
        self._kinds[key] = kind = await find_kind(self._client, *place, resource.kind) if place else None
        return kind

    def _log_refusal(self, refusal: Forbidden) -> None:
        """One line per verb and kind: neither a thousand events nor a hundred namespaces say more."""
        if self._logged.is_new(permission_of(refusal)):
            advice = "deployments/events/rbac.yaml grants what Events need; add the kind there if it is not among them"
            log.warning("permission_missing", error=first_line(refusal), reason=advice)


def _group_version(resource: Resource) -> tuple[str, str] | None:
    """None: it is no object in the cluster (a file, say), or one that is never read."""
    said = _API_VERSION.fullmatch(resource.api_version)
    if said is None or not resource.kind or not resource.name or resource.kind in _NEVER_READ:
        return None
    return said[1] or "", said[2]


def _uid_of(found: Any, kind: ApiResource) -> str:
    """The uid under which `kubectl describe` looks for Events."""
    metadata = found.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    annotations = metadata.get("annotations")
    mirrored = annotations.get(_MIRROR) if kind.plural == "pods" and not kind.group and isinstance(annotations, dict) else None
    uid = mirrored or metadata.get("uid")
    if not isinstance(uid, str) or not uid:
        raise Permanent(f"{kind.full_name} come without a uid")
    return uid


def _event_object(told: _Told, namespace: str, uid: str) -> dict[str, Any]:
    """namespace: of the resource; empty for one of the whole cluster, whose Events lie in `default`, as client-go has it."""
    resource, at = told.event.resource, format_rfc3339(told.at)
    return {
        "apiVersion": "v1",
        "kind": EVENTS.kind,
        "metadata": {
            # The same after a restart; another one for a new Pod of the same name, which kubectl tells apart as well.
            "name": f"{told.event.name}.{hashlib.sha256(uid.encode()).hexdigest()[:10]}",
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
        "message": _message(told),
        "source": {"component": "zenwatch"},
        "reportingComponent": "zen.kube-zen.io/zenwatch",
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }


def _message(told: _Told) -> str:
    """Plain text for a terminal: on one line, without control characters, and with the record's name whatever has to be cut."""
    event = told.event
    said = f"{event.title} ({event.source}, score {event.score})" + (f": {event.remediation}" if event.remediation else "")
    said = " ".join("".join(character if character.isprintable() else " " for character in said).split())
    record = f"; record {told.namespace}/{event.name}"
    room = MESSAGE_BYTES - len(record)
    sent = said.encode("utf-8", "replace")
    if len(sent) > room:
        said = sent[: room - len("…".encode())].decode("utf-8", "ignore") + "…"
    return said + record
