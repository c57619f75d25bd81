"""One process at a time works on a cluster: it takes a coordination.k8s.io Lease, renews it, and releases it at the end.

In: the API client.  Out: on_held is called once, when this process may begin to work; until then, waits_for says for what.
Owns: the Lease zenwatch-CLUSTER_ID in zenwatch's own namespace, while this process holds it.
Stops: release(), after the last write, lets the next process begin at once. After kill -9 it begins when the lease has run out.

This is no election: a process that works never stops because of its lease. If it cannot renew it for so long that another takes it (it was
suspended, or the API server answered only the other), both work; the log says so. Without the permission it works as well, with a warning.
"""

import asyncio
import os
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC
from math import ceil
from typing import Any

import structlog

from zenwatch.contract import Clock
from zenwatch.errors import AlreadyExists, Conflict, NotFound, Permanent, Transient, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.kube.kinds import LEASES
from zenwatch.log import OncePerMessage

log = structlog.get_logger(component="lease")

LEASE_SECS = 15.0
# It is renewed, and looked at by those that wait, so often while it lasts.
TRIES_PER_LEASE = 5

Json = Mapping[str, Any]


class Lease:
    """duration_secs: how long after its last renewal another process takes it."""

    def __init__(self, client: KubeClient, *, cluster_id: str, namespace: str, clock: Clock, duration_secs: float = LEASE_SECS) -> None:
        # A label value may have characters that a name may not.
        self._name = "zenwatch-" + re.sub(r"[^a-z0-9]", "-", cluster_id.lower())
        self._holder = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._duration_secs = duration_secs
        self._logged = OncePerMessage()
        self._never = asyncio.Event()
        # The renewal that was seen last, and when. Clocks of different machines are never compared.
        self._seen: Any = None
        self._seen_at_secs = float("-inf")
        self._is_working = False
        self.waits_for = "the first look at it"

    async def hold(self, on_held: Callable[[], Awaitable[None]]) -> None:
        """Take the lease, call on_held, and renew the lease until cancelled."""
        while True:
            try:
                other = await self._take()
            except Transient as exc:
                # A process that works cannot write then, either, and nobody can take its lease.
                self._not_held(f"the API server does not say who works on this cluster: {first_line(exc)}")
            except Permanent as exc:
                # Without the permission, or the namespace.
                await self._work(on_held)
                self._not_held(first_line(exc))
            else:
                if other:
                    self._not_held(f"{other} works on this cluster")
                else:
                    self._logged.clear()
                    await self._work(on_held)
            await self._clock.wait(self._never, timeout_secs=self._duration_secs / TRIES_PER_LEASE)

    async def release(self) -> None:
        """Give the lease up if this process holds it. If that fails, it runs out."""
        try:
            lease = await self._client.send(self._call("get"))
            if _spec_of(lease).get("holderIdentity") == self._holder:
                await self._client.send(self._call("update"), body=self._renewed(lease, holder=""))
        except (Transient, Permanent) as exc:
            log.debug("lease_not_released", error=first_line(exc))

    async def _work(self, on_held: Callable[[], Awaitable[None]]) -> None:
        self.waits_for = ""
        if not self._is_working:
            await on_held()
            self._is_working = True

    def _not_held(self, reason: str) -> None:
        state = "works all the same" if self._is_working else "waits"
        if not self._is_working:
            self.waits_for = reason
        if self._logged.is_new(reason):
            log.warning("lease_not_held", name=self._name, namespace=self._namespace, reason=reason, state=state)

    async def _take(self) -> str:
        """Take or renew the lease. Return who holds it instead; empty: this process does."""
        try:
            lease = await self._client.send(self._call("get"))
        except NotFound as exc:
            if exc.missing_kind == "namespaces":
                raise
            return await self._create()
        holder = _spec_of(lease).get("holderIdentity") or ""
        if holder not in ("", self._holder) and not self._has_run_out(lease):
            return str(holder)
        try:
            await self._client.send(self._call("update"), body=self._renewed(lease, holder=self._holder))
        except Conflict:
            return "another process"
        return ""

    async def _create(self) -> str:
        metadata = {"name": self._name, "namespace": self._namespace}
        lease = {"apiVersion": f"{LEASES.group}/{LEASES.version}", "kind": LEASES.kind, "metadata": metadata}
        try:
            await self._client.send(Call("create", LEASES, self._namespace), body=self._renewed(lease, holder=self._holder))
        except AlreadyExists:
            return "another process"
        return ""

    def _has_run_out(self, lease: Json) -> bool:
        """Whether its holder has not renewed it for as long as the holder itself promised, seen from here."""
        now_secs, renewal = self._clock.monotonic_secs(), lease["metadata"].get("resourceVersion")
        if renewal != self._seen:
            self._seen, self._seen_at_secs = renewal, now_secs
        duration_secs = _spec_of(lease).get("leaseDurationSeconds") or self._duration_secs
        return bool(now_secs - self._seen_at_secs > duration_secs)

    def _renewed(self, lease: Json, *, holder: str) -> dict[str, Any]:
        now = self._clock.now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = dict(_spec_of(lease))
        if spec.get("holderIdentity") != holder:
            spec |= {"acquireTime": now, "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        spec |= {"holderIdentity": holder, "renewTime": now, "leaseDurationSeconds": ceil(self._duration_secs)}
        return {**lease, "spec": spec}

    def _call(self, verb: str) -> Call:
        return Call(verb, LEASES, self._namespace, self._name)


def _spec_of(lease: Json) -> Json:
    return lease.get("spec") or {}
