"""Follow one kind of report, and hand to the intake what each report contains.

In: a ListWatch of the kind.  Out: take, forget and replace_all on the intake; findings are parsed as they arrive and objects let go.
Owns: the state of the kind: unread, followed, not served, forbidden or unreachable.
Stops: when the task that runs follow() is cancelled; nothing to drain, the reports are still in the API server. It can be run again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import Any

import structlog

from zenwatch.contract import Clock, Intake
from zenwatch.errors import BadInput, Expired, Forbidden, NotFound, Transient, first_line
from zenwatch.kube.cluster import Cluster
from zenwatch.kube.list_watch import Change, Interrupted, ListComplete, ListWatch, Page, Resumed, WatchSignal
from zenwatch.metrics import REPORTS_REJECTED
from zenwatch.model.finding import Finding, Resource
from zenwatch.model.refs import Origin, ReportRef, Scope
from zenwatch.runtime.backoff import backoff_secs
from zenwatch.runtime.supervise import plugin_boundary
from zenwatch.sdk.watcher import ApiResource, Watcher
from zenwatch.sources.monitor.rejected import RejectedReports, Rejection

log = structlog.get_logger(component="informer")

# Parsing a page of small reports takes tens of milliseconds: let other tasks run in between.
REPORTS_AT_A_TIME = 20


class State(StrEnum):
    UNREAD = "unread"
    FOLLOWED = "followed"
    NOT_SERVED = "not_served"
    FORBIDDEN = "forbidden"
    UNREACHABLE = "unreachable"


class ReportInformer:
    """All reports of one kind, in one namespace or in the whole cluster.

    namespace: read only there; empty: in the whole cluster.
    ask_again_secs: how long until a forbidden kind is requested again. A kind that is not served waits for mark_served().
    observe: receives each object before it is parsed. rejected: receives the reports that cannot be read.
    on_state_change: called whenever the state changes.
    objects: how many reports there are, readable or not.
    """

    def __init__(
        self,
        cluster: Cluster,
        resource: ApiResource,
        watcher: Watcher,
        intake: Intake,
        *,
        namespace: str = "",
        ask_again_secs: float,
        clock: Clock,
        observe: Callable[[Mapping[str, Any]], None] = lambda _report: None,
        rejected: RejectedReports | None = None,
    ) -> None:
        self.resource = resource
        self.scope = Scope(resource.full_name, namespace)
        self.objects = 0
        self.state = State.UNREAD
        self.on_state_change: Callable[[], None] = lambda: None
        self._list_watch = ListWatch(cluster.client, resource, namespace=namespace, label_selector=resource.label_selector)
        self._origin = Origin(cluster.id, watcher.name)
        self._watcher = watcher
        self._plugin = f"the watcher {watcher.name}"
        self._intake = intake
        self._observe = observe
        self._rejected = rejected if rejected is not None else RejectedReports()
        self._owners = cluster.owners
        self._ask_again_secs = ask_again_secs
        self._clock = clock
        self._listed: set[ReportRef] = set()
        self._was_listed = False
        self._failures = self._expired_in_a_row = 0
        self._served = asyncio.Event()
        self._never = asyncio.Event()

    @property
    def has_synced(self) -> bool:
        """Whether a round may conclude anything: the kind was listed whole once, or there is nothing in it for us."""
        return self._was_listed or self.state in (State.NOT_SERVED, State.FORBIDDEN)

    @property
    def is_followed(self) -> bool:
        """Whether the kind is there as far as is known: a server that is away for a moment changes nothing."""
        return self.state in (State.FOLLOWED, State.UNREACHABLE)

    def mark_served(self) -> None:
        """The API server serves the kind now: list it."""
        self._served.set()

    def mark_unserved(self) -> None:
        """The API server knows the kind's group and does not serve the kind: its reports are gone with it."""
        self._replace_all(())

    async def follow(self) -> None:
        """Run until cancelled. While it does not run, the scope is stale: nothing is concluded from the absence of changes."""
        self._failures = self._expired_in_a_row = 0
        while True:
            try:
                await self._list_and_watch()
            except (Expired, NotFound, Forbidden, Transient) as exc:
                await self._wait_after(exc)

    async def _list_and_watch(self) -> None:
        self._listed = set()
        try:
            async with aclosing(self._list_watch.signals()) as signals:
                async for signal in signals:
                    self._failures = 0
                    if isinstance(signal, Change):
                        # Listing again is no progress: only a change after it is.
                        self._expired_in_a_row = 0
                    await self._receive(signal)
        finally:
            self._intake.mark_stale(self.scope)

    async def _wait_after(self, error: Exception) -> None:
        match error:
            case Expired():
                # List again at once; but a server that answers 410 again and again is not asked without a pause.
                self._expired_in_a_row += 1
                if self._expired_in_a_row > 1:
                    await self._pause(backoff_secs(self._expired_in_a_row, error))
            case NotFound():
                self._served.clear()
                self._become(State.NOT_SERVED)
                await self._served.wait()
            case Forbidden():
                self._become(State.FORBIDDEN, error)
                await self._pause(self._ask_again_secs)
            case _:
                self._failures += 1
                self._become(State.UNREACHABLE, error)
                await self._pause(backoff_secs(self._failures, error))

    async def _pause(self, secs: float) -> None:
        await self._clock.wait(self._never, timeout_secs=secs)

    async def _receive(self, signal: WatchSignal) -> None:
        match signal:
            case Page(answer):
                async for report in _in_slices(answer.get("items") or []):
                    self._listed.add(await self._receive_report(report))
            case ListComplete():
                self._replace_all(self._listed)
                self.objects = len(self._listed)
                self._listed = set()
                self._was_listed = True
                self._become(State.FOLLOWED)
            case Change("DELETED", report):
                self.objects -= 1
                self._intake.forget(self._reference(report))
                self._rejected.drop(self._reference(report))
            case Change(kind, report):
                self.objects += kind == "ADDED"
                await self._receive_report(report)
            case Interrupted():
                self._intake.mark_stale(self.scope)
            case Resumed():
                self._intake.mark_fresh(self.scope)

    def _replace_all(self, reports: Collection[ReportRef]) -> None:
        self._intake.replace_all(self.scope, reports)
        self._rejected.forget_others(self.scope, reports)

    async def _receive_report(self, report: Mapping[str, Any]) -> ReportRef:
        reference, version = self._reference(report), str(report["metadata"].get("resourceVersion", ""))
        if self._intake.version_of(reference) == version or self._rejected.knows(reference, version):
            return reference
        self._observe(report)
        try:
            findings, errors, subject = self._parsed(report)
            if errors and not findings:
                self._reject(reference, version, errors[0], rejected=len(errors))
                return reference
            grouped, subject = await self._regrouped(findings, subject)
            with plugin_boundary(self._plugin):
                former = [finding for finding, now in zip(findings, grouped, strict=True) if finding.key != now.key]
                self._intake.take(reference, version, grouped, subject=subject, former=former, rejected=len(errors))
        except BadInput as exc:
            self._reject(reference, version, exc)
            return reference
        if errors:
            self._remember(reference, version, errors)
        else:
            self._rejected.drop(reference)
        return reference

    def _remember(self, report: ReportRef, version: str, errors: Sequence[BadInput]) -> None:
        """Some of its entries are not understood."""
        self._rejected.add(report, Rejection(version, first_line(errors[0]), len(errors)))
        log.warning("entries_rejected", **self._keys(report, errors[0]), count=len(errors))

    def _reject(self, report: ReportRef, version: str, error: BadInput, *, rejected: int = 1) -> None:
        """Nothing of it is understood. rejected: so many of its entries, or 1."""
        self._intake.cannot_read(report, rejected=rejected)
        self._rejected.add(report, Rejection(version, first_line(error)))
        REPORTS_REJECTED.labels(*self._origin).inc()
        log.warning("report_rejected", **self._keys(report, error))

    def _keys(self, report: ReportRef, error: BadInput) -> dict[str, str]:
        return {"cluster_id": self._origin.cluster_id, "source": self._origin.source, "name": str(report), "error": first_line(error)}

    def _parsed(self, report: Mapping[str, Any]) -> tuple[list[Finding], list[BadInput], Resource | None]:
        """The findings, the errors in place of entries that are not understood, and what the report is about."""
        # A list names the kind once, for all its objects; watchers need it in each.
        whole = {"kind": self.resource.kind, **report}
        findings: list[Finding] = []
        errors: list[BadInput] = []
        with plugin_boundary(self._plugin):
            for parsed in self._watcher.parse(whole):
                if isinstance(parsed, BadInput):
                    errors.append(parsed)
                else:
                    findings.append(parsed)
            if self.resource.label_selector:
                # Labelled objects are one snapshot, whatever each of them is about.
                return findings, errors, Resource()
            return findings, errors, self._watcher.subject(whole) if self._watcher.subject else None

    async def _regrouped(self, findings: list[Finding], subject: Resource | None) -> tuple[list[Finding], Resource | None]:
        """The same about the controllers of the resources, if GROUP_BY_OWNER is on and the watcher can do that."""
        regroup = self._watcher.regroup
        if self._owners is None or regroup is None:
            return findings, subject
        named = {finding.resource for finding in findings} | ({subject} if subject is not None else set())
        owners = {resource: await self._owners.controller_of(resource) for resource in named}
        with plugin_boundary(self._plugin):
            findings = [regroup(finding, owners[finding.resource]) for finding in findings]
        return findings, owners[subject] if subject is not None else None

    def _reference(self, report: Mapping[str, Any]) -> ReportRef:
        metadata = report["metadata"]
        return ReportRef(self.scope.kind, metadata.get("namespace", ""), metadata["name"])

    def _become(self, state: State, error: Exception | None = None) -> None:
        if state is self.state:
            return
        level = log.info if error is None else log.warning
        keys = {"error": first_line(error)} if error else {}
        level(
            "reports_state_changed",
            cluster_id=self._origin.cluster_id,
            source=self._origin.source,
            resource=str(self.scope),
            state=state.value,
            **keys,
        )
        self.state = state
        self.on_state_change()


async def _in_slices(reports: list[Any]) -> AsyncIterator[Any]:
    for number, report in enumerate(reports, start=1):
        if number % REPORTS_AT_A_TIME == 0:
            await asyncio.sleep(0)
        yield report
