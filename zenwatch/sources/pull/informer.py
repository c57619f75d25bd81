"""Follow one kind of report and tell the intake what each report says.

In: a Follower over the kind.  Out: take, forget and keep_only on the intake; findings are parsed as they arrive and objects let go.
Owns: what is known of the kind: not read yet, followed, not served, refused, out of reach.
Stops: with its task; nothing to drain, the reports are still in the API server.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import structlog

from zenwatch.contract import Clock, Intake, OwnerResolver
from zenwatch.errors import BadInput, Expired, Forbidden, NotFound, Transient, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.list_watch import Change, Interrupted, ListComplete, ListWatch, Page, Resumed, WatchSignal
from zenwatch.metrics import REPORTS_REJECTED
from zenwatch.model.finding import Finding, Resource
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.watcher import ApiResource, Watcher

log = structlog.get_logger(component="informer")

# Parsing a page of small reports takes tens of milliseconds: let others have the loop in between.
REPORTS_AT_A_TIME = 20


class State(StrEnum):
    UNREAD = "unread"
    FOLLOWED = "followed"
    NOT_SERVED = "not_served"
    FORBIDDEN = "forbidden"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Scope:
    """Where reports are read. namespace: only there; empty: in the whole cluster."""

    resource: ApiResource
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.resource.full_name}/{self.namespace}" if self.namespace else self.resource.full_name


class ReportInformer:
    """All reports of one place.

    on_read: called whenever the state changes.
    ask_again_secs: until a kind is asked for again that we may not read. One that is not served waits for look_again().
    owners: findings are said of the controllers of what they name, if the watcher knows how. None: of what they name.
    hear: is given each object that is read, before it is understood.
    objects: how many there are, readable or not.
    """

    def __init__(
        self,
        client: KubeClient,
        place: Scope,
        watcher: Watcher,
        intake: Intake,
        *,
        ask_again_secs: float,
        clock: Clock,
        owners: OwnerResolver | None = None,
        observe: Callable[[Mapping[str, Any]], None] = lambda _report: None,
    ) -> None:
        self._follower = ListWatch(client, place.resource, namespace=place.namespace, label_selector=place.resource.label_selector)
        self.place = place
        self._watcher = watcher
        self._intake = intake
        self._observe = observe
        self._owners = owners if watcher.regroup else None
        self._ask_again_secs = ask_again_secs
        self._clock = clock
        self._listed: set[str] = set()
        self._was_read = False
        self._is_served_now = asyncio.Event()
        self._never = asyncio.Event()
        self.objects = 0
        self.state = State.UNREAD
        self.on_read: Callable[[], None] = lambda: None

    def look_again(self) -> None:
        """The kind is served now."""
        self._is_served_now.set()

    def is_gone(self) -> None:
        """The API server knows its group, and said that it does not serve the kind: what it held went with it."""
        self._intake.replace_all(str(self.place), ())

    @property
    def is_known(self) -> bool:
        """Whether a round may conclude anything: the kind was read whole once, or there is nothing in it for us."""
        return self._was_read or self.state in (State.NOT_SERVED, State.FORBIDDEN)

    @property
    def is_followed(self) -> bool:
        """As far as we know it is there: a server that is away for a moment takes nothing back."""
        return self.state in (State.FOLLOWED, State.UNREACHABLE)

    async def follow(self) -> None:
        attempt = expired_in_a_row = 0
        while True:
            self._listed = set()
            try:
                async for signal in self._follower.signals():
                    attempt = 0
                    # Reading anew is no progress: only a change that comes after it is.
                    expired_in_a_row = 0 if isinstance(signal, Change) else expired_in_a_row
                    await self._receive(signal)
            except Expired as exc:
                # At once; but a server that says so again and again is not asked without a pause.
                expired_in_a_row += 1
                if expired_in_a_row > 1:
                    await self._clock.wait(self._never, timeout_secs=backoff_secs(expired_in_a_row, exc))
                continue
            except NotFound:
                self._is_served_now.clear()
                self._become(State.NOT_SERVED)
                await self._is_served_now.wait()
                continue
            except Forbidden as exc:
                self._become(State.FORBIDDEN, exc)
            except Transient as exc:
                attempt += 1
                self._become(State.UNREACHABLE, exc)
                await self._clock.wait(self._never, timeout_secs=backoff_secs(attempt, exc))
                continue
            await self._clock.wait(self._never, timeout_secs=self._ask_again_secs)

    async def _receive(self, signal: WatchSignal) -> None:
        match signal:
            case Page(answer):
                async for report in _in_turns(answer.get("items") or []):
                    self._listed.add(await self._take(report))
            case ListComplete():
                self._intake.replace_all(str(self.place), self._listed)
                self.objects = len(self._listed)
                self._listed = set()
                self._was_read = True
                self._become(State.FOLLOWED)
            case Change("DELETED", report):
                self.objects -= 1
                self._intake.forget(self._reference(report))
            case Change(kind, report):
                self.objects += kind == "ADDED"
                await self._take(report)
            case Interrupted():
                self._intake.mark_stale(str(self.place))
            case Resumed():
                self._intake.mark_fresh(str(self.place))

    async def _take(self, report: Mapping[str, Any]) -> str:
        reference, version = self._reference(report), str(report["metadata"].get("resourceVersion", ""))
        if self._intake.version_of(reference) == version:
            return reference
        self._observe(report)
        try:
            # A list names the kind of its items once, for all of them; watchers want it in each.
            whole = {"kind": self.place.resource.kind, **report}
            with plugin_boundary(f"the watcher {self._watcher.name}"):
                findings, subject = list(self._watcher.parse(whole)), self._subject_of(whole)
            findings, subject = await self._regrouped(findings, subject)
            with plugin_boundary(f"the watcher {self._watcher.name}"):
                self._intake.take(reference, version, findings, subject=subject)
        except BadInput as exc:
            self._intake.cannot_read(reference)
            REPORTS_REJECTED.labels(self._watcher.name).inc()
            log.warning("report_rejected", source=self._watcher.name, name=reference, error=first_line(exc))
        return reference

    def _subject_of(self, report: Mapping[str, Any]) -> Resource | None:
        """A label set is one snapshot, whatever its objects are about."""
        if self.place.resource.label_selector:
            return Resource()
        return self._watcher.subject(report) if self._watcher.subject else None

    async def _regrouped(self, findings: list[Finding], subject: Resource | None) -> tuple[list[Finding], Resource | None]:
        if self._owners is None or self._watcher.regroup is None:
            return findings, subject
        named = {finding.resource for finding in findings} | ({subject} if subject is not None else set())
        owners = {resource: await self._owners.controller_of(resource) for resource in named}
        with plugin_boundary(f"the watcher {self._watcher.name}"):
            findings = [self._watcher.regroup(finding, owners[finding.resource]) for finding in findings]
        return findings, owners[subject] if subject is not None else None

    def _reference(self, report: Mapping[str, Any]) -> str:
        metadata = report["metadata"]
        return f"{self.place.resource.full_name}/{metadata.get('namespace', '')}/{metadata['name']}"

    def _become(self, state: State, error: Exception | None = None) -> None:
        if state is not State.FOLLOWED:
            self._intake.mark_stale(str(self.place))
        if state is not self.state:
            say = log.info if error is None else log.warning
            keys = {"error": first_line(error)} if error else {}
            say("reports_state_changed", source=self._watcher.name, resource=str(self.place), state=state.value, **keys)
            self.state = state
            self.on_read()


async def _in_turns(reports: list[Any]) -> AsyncIterator[Any]:
    for place, report in enumerate(reports):
        if place % REPORTS_AT_A_TIME == REPORTS_AT_A_TIME - 1:
            await asyncio.sleep(0)
        yield report
