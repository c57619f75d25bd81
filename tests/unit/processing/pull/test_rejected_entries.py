"""A report of which some entries are not understood: what is understood is stored, and nothing that an entry may stand for is resolved.

All parts are real but the store and the clock.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.builders.findings import POD, REPORTS, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.pull import Pipeline, running
from zenwatch.model.finding import Severity
from zenwatch.model.refs import ReportRef, Scope

SCOPE, GRACE_SECS = Scope(REPORTS), 600.0
OLD, NEW = ReportRef(REPORTS, "default", "replicaset-web-1"), ReportRef(REPORTS, "default", "replicaset-web-2")
ONE, OTHER = a_finding(vuln_id="CVE-2026-1"), a_finding(vuln_id="CVE-2026-2")


class Reports:
    """Pipelines, one after the other, over the same store and clock."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock(skips_waits=True)

    @asynccontextmanager
    async def running(self, **policy: Any) -> AsyncIterator[Pipeline]:
        policy = {"grace_secs": GRACE_SECS, "scopes": frozenset({SCOPE})} | policy
        async with running(store=self.store, clock=self.clock, **policy) as pipeline:
            yield pipeline

    async def after(self, pipeline: Pipeline, secs: float = 0) -> dict[str, str]:
        """Let that much time pass, and settle. Return by CVE the phase, and the reason."""
        self.clock.advance(secs=secs)
        await pipeline.intake.settle()
        statuses = ((record["spec"]["details"]["vulnID"], record["status"]) for record in self.store.objects.values())
        return {vuln_id: f"{status['phase']} {status.get('reason', '')}".strip() for vuln_id, status in statuses}


async def test_what_is_understood_of_a_report_is_stored_and_the_rest_is_counted() -> None:
    """Each entry that is not understood is one rejected finding."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE], subject=POD, rejected=2)

        assert await reports.after(pipeline) == {"CVE-2026-1": "Open"}
        assert pipeline.page() == {"received": 3, "stored": 1, "rejected": 2}
        assert pipeline.intake.version_of(OLD) == "1"


async def test_a_finding_that_an_unclear_report_drops_stays_open_until_a_version_is_understood_whole() -> None:
    """One of the entries that are not understood may be it."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE, OTHER], subject=POD)
        pipeline.intake.replace_all(SCOPE, {OLD})
        await reports.after(pipeline)
        for version in ("2", "3"):
            pipeline.intake.take(OLD, version, [OTHER], subject=POD, rejected=1)
            assert await reports.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        pipeline.intake.take(OLD, "4", [OTHER], subject=POD)

        assert await reports.after(pipeline) == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Open"}


async def test_after_a_restart_an_unclear_report_resolves_nothing_of_its_own() -> None:
    """The process does not know any more what the report held; the records do."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE, OTHER], subject=POD)
        await reports.after(pipeline)
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "2", [OTHER], subject=POD, rejected=1)
        pipeline.intake.replace_all(SCOPE, {OLD})
        assert await reports.after(pipeline) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        assert await reports.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        pipeline.intake.take(OLD, "3", [OTHER], subject=POD)

        assert await reports.after(pipeline) == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Open"}


async def test_an_unclear_report_that_replaces_a_deleted_one_resolves_nothing_of_their_resource() -> None:
    """A rollout replaces a report by one with another name. What only the deleted one held waits until the new one is understood whole."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE, OTHER], subject=POD)
        pipeline.intake.replace_all(SCOPE, {OLD})
        await reports.after(pipeline)
        pipeline.intake.forget(OLD)
        pipeline.intake.take(NEW, "1", [OTHER], subject=POD, rejected=1)
        assert await reports.after(pipeline, GRACE_SECS) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        assert await reports.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        pipeline.intake.take(NEW, "2", [OTHER], subject=POD)

        assert await reports.after(pipeline) == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Open"}


async def test_an_unclear_report_that_is_deleted_has_the_grace_to_come_back() -> None:
    """Then its findings are gone with it, also those that only waited for it."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE, OTHER], subject=POD)
        await reports.after(pipeline)
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "2", [OTHER], subject=POD, rejected=1)
        pipeline.intake.replace_all(SCOPE, {OLD})
        await reports.after(pipeline)
        pipeline.intake.forget(OLD)
        assert await reports.after(pipeline, GRACE_SECS - 1) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}

        assert await reports.after(pipeline, 1) == {"CVE-2026-1": "Resolved ReportGone", "CVE-2026-2": "Resolved ReportGone"}


async def test_a_report_that_comes_back_unclear_resolves_nothing_that_it_held() -> None:
    """The Trivy Operator deletes each report once a day; the one that it writes then may have an entry that is not understood."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE, OTHER], subject=POD)
        pipeline.intake.replace_all(SCOPE, {OLD})
        await reports.after(pipeline)
        pipeline.intake.forget(OLD)
        pipeline.intake.take(OLD, "2", [OTHER], subject=POD, rejected=1)

        assert await reports.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}


async def test_a_severity_that_falls_below_the_threshold_in_an_unclear_report_resolves_nothing() -> None:
    """An entry that is not understood may be the same finding, as severe as before."""
    reports = Reports()
    async with reports.running(min_severity=Severity.HIGH) as pipeline:
        pipeline.intake.take(OLD, "1", [ONE], subject=POD)
        await reports.after(pipeline)
        lower = a_finding(vuln_id="CVE-2026-1", severity=Severity.LOW)
        pipeline.intake.take(OLD, "2", [lower], subject=POD, rejected=1)
        assert await reports.after(pipeline) == {"CVE-2026-1": "Open"}
        pipeline.intake.take(OLD, "3", [lower], subject=POD)

        assert await reports.after(pipeline) == {"CVE-2026-1": "Resolved BelowThreshold"}


async def test_reports_of_other_resources_are_resolved_beside_an_unclear_one() -> None:
    """One odd report costs the others nothing."""
    reports = Reports()
    elsewhere = a_finding(vuln_id="CVE-2026-9", resource=POD.__class__("v1", "Pod", "other", "default"))
    async with reports.running() as pipeline:
        pipeline.intake.take(OLD, "1", [ONE], subject=POD, rejected=1)
        pipeline.intake.take(NEW, "1", [elsewhere], subject=elsewhere.resource)
        await reports.after(pipeline)
        pipeline.intake.take(NEW, "2", [], subject=elsewhere.resource)

        assert await reports.after(pipeline) == {"CVE-2026-1": "Open", "CVE-2026-9": "Resolved Fixed"}


async def test_what_nothing_is_understood_of_is_counted_once_as_rejected() -> None:
    """A state that is only unknown, without a report, is not."""
    reports = Reports()
    async with reports.running() as pipeline:
        pipeline.intake.cannot_read(OLD, rejected=1)
        pipeline.intake.cannot_read(NEW)

        assert pipeline.page() == {"received": 1, "rejected": 1}
