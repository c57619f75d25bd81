"""The life of a finding in reports: open, resolved, reopened. All parts are real but the store and the clock.

tests/contract/intake_suite.py tests how findings are stored; here they are dropped, and come back.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.builders.findings import POD, REPORTS, a_finding
from tests.support.fakes.clock import FakeClock
from tests.support.fakes.store import MemoryStore
from tests.support.pipelines.pull import Pipeline, running
from tests.support.tasks import until
from zenwatch.errors import Transient
from zenwatch.model.finding import Finding, Resource, Severity
from zenwatch.model.record import Phase
from zenwatch.model.refs import ReportRef, Scope

SCOPE, GRACE_SECS = Scope(REPORTS), 600.0
CONFIG_AUDITS = Scope("configauditreports.aquasecurity.github.io")
NGINX, SIDECAR = ReportRef(REPORTS, "default", "pod-nginx-web"), ReportRef(REPORTS, "default", "pod-nginx-sidecar")
ONE, OTHER = a_finding(vuln_id="CVE-2026-1"), a_finding(vuln_id="CVE-2026-2")


class Life:
    """Pipelines, one after the other, over the same store and clock."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), FakeClock(skips_waits=True)

    @asynccontextmanager
    async def running(self, **parts: Any) -> AsyncIterator[Pipeline]:
        policy = {"grace_secs": GRACE_SECS, "scopes": frozenset({SCOPE})} | parts
        async with running(store=self.store, clock=self.clock, **policy) as pipeline:
            yield pipeline

    async def after(self, pipeline: Pipeline, secs: float) -> dict[str, str]:
        """Let that much time pass, and settle. Return the state of each record."""
        self.clock.advance(secs=secs)
        await pipeline.intake.settle()
        return self.states()

    def states(self) -> dict[str, str]:
        """Return by CVE the phase, how often the record was reopened, and the reason."""
        return {record["spec"]["details"]["vulnID"]: _state(record["status"]) for record in self.store.objects.values()}

    def status(self) -> dict[str, Any]:
        [record] = self.store.objects.values()
        status: dict[str, Any] = record["status"]
        return status


def _state(status: dict[str, Any]) -> str:
    return " ".join(filter(None, (status["phase"], str(status["reopened"]) if status["reopened"] else "", status.get("reason", ""))))


async def _listed(pipeline: Pipeline, reports: dict[ReportRef, Sequence[Finding]]) -> None:
    """A complete list holds these reports."""
    for report, findings in reports.items():
        pipeline.intake.take(report, "listed", findings, subject=POD)
    pipeline.intake.replace_all(SCOPE, set(reports))
    await pipeline.intake.settle()


@pytest.fixture
def life() -> Life:
    return Life()


# ---------------------------------------------------------------- resolved


async def test_a_finding_that_its_report_drops_is_fixed(life: Life) -> None:
    """At once, because the whole report was read. The other findings stay as they are."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE, OTHER]})
        before = list(life.store.calls)

        life.clock.advance(secs=60)
        pipeline.intake.take(NGINX, "2", [OTHER], subject=POD)
        await pipeline.intake.settle()

    assert life.states() == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Open"}
    assert [operation for operation, _ in life.store.calls[len(before) :]] == ["set_status"]
    status = next(record["status"] for record in life.store.objects.values() if record["status"]["phase"] == "Resolved")
    assert (status["firstSeen"], status["resolvedAt"], status["lastSeen"]) == (
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:01:00Z",
        "2026-01-01T00:01:00Z",
    )


async def test_an_empty_report_fixes_all_that_it_held(life: Life) -> None:
    """Also if it does not name its subject."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE, OTHER]})
        pipeline.intake.take(NGINX, "2", [])
        await pipeline.intake.settle()

    assert life.states() == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Resolved Fixed"}


async def test_a_finding_that_another_report_holds_stays_open(life: Life) -> None:
    """Only its count falls."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE], SIDECAR: [ONE]})
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        await pipeline.intake.settle()

    assert life.states() == {"CVE-2026-1": "Open"}
    assert life.status()["count"] == 1


async def test_a_report_that_is_gone_has_the_grace_to_come_back(life: Life) -> None:
    """The Trivy Operator deletes each report once a day, and writes it again."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.forget(NGINX)

        assert await life.after(pipeline, GRACE_SECS - 1) == {"CVE-2026-1": "Open"}
        assert await life.after(pipeline, 1) == {"CVE-2026-1": "Resolved ReportGone"}


async def test_a_report_that_comes_back_as_it_was_changes_nothing(life: Life) -> None:
    """Nothing is written."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        written = list(life.store.calls)
        pipeline.intake.forget(NGINX)
        await life.after(pipeline, GRACE_SECS / 2)
        pipeline.intake.take(NGINX, "9", [ONE], subject=POD)

        assert await life.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open"}

    assert life.store.calls == written


async def test_a_finding_that_is_not_in_the_report_that_comes_back_is_fixed(life: Life) -> None:
    """There is nothing left to wait for."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE, OTHER]})
        pipeline.intake.forget(NGINX)
        await life.after(pipeline, 1)
        pipeline.intake.take(NGINX, "9", [OTHER], subject=POD)

        assert await life.after(pipeline, 0) == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Open"}


async def test_another_report_that_drops_the_finding_does_not_end_the_grace(life: Life) -> None:
    """The report that is gone may come back with it."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE], SIDECAR: [ONE]})
        pipeline.intake.forget(NGINX)
        await life.after(pipeline, 1)
        pipeline.intake.take(SIDECAR, "2", [], subject=POD)

        assert await life.after(pipeline, 1) == {"CVE-2026-1": "Open"}
        assert await life.after(pipeline, GRACE_SECS) == {"CVE-2026-1": "Resolved Fixed"}


async def test_a_finding_that_a_new_report_of_the_resource_does_not_hold_is_fixed(life: Life) -> None:
    """A rollout: another ReplicaSet, another report, the same Deployment."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.forget(NGINX)
        pipeline.intake.take(SIDECAR, "1", [], subject=POD)

        assert await life.after(pipeline, GRACE_SECS) == {"CVE-2026-1": "Resolved Fixed"}


async def test_a_report_about_another_resource_fixes_nothing(life: Life) -> None:
    """No report is about the Pod any more: whether the finding was fixed is unknown."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.forget(NGINX)
        pipeline.intake.take(SIDECAR, "1", [], subject=Resource("v1", "Pod", "another", "default"))

        assert await life.after(pipeline, GRACE_SECS) == {"CVE-2026-1": "Resolved ReportGone"}


@pytest.mark.parametrize("severity", [Severity.LOW, Severity.INFO])
async def test_a_severity_below_the_threshold_resolves_with_a_reason_of_its_own(life: Life, severity: Severity) -> None:
    """The finding is still there; Fixed would be wrong."""
    async with life.running(min_severity=Severity.MEDIUM) as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.take(NGINX, "2", [a_finding(vuln_id="CVE-2026-1", severity=severity)], subject=POD)
        await pipeline.intake.settle()

    assert life.states() == {"CVE-2026-1": "Resolved BelowThreshold"}


async def test_a_raised_threshold_resolves_after_a_restart(life: Life) -> None:
    """And a lowered threshold reopens what it excluded."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
    async with life.running(min_severity=Severity.CRITICAL) as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        assert life.states() == {"CVE-2026-1": "Resolved BelowThreshold"}
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        assert life.states() == {"CVE-2026-1": "Open 1 Reopened"}


async def test_a_finding_that_is_withdrawn_before_it_is_written_is_never_written(life: Life) -> None:
    """There is nothing to resolve."""
    async with life.running() as pipeline:
        pipeline.intake.take(NGINX, "1", [ONE], subject=POD)
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        await pipeline.intake.settle()

        assert life.store.calls == []
        assert pipeline.page() == {"received": 1, "filtered": 1}


async def test_a_suppressed_record_is_resolved_too(life: Life) -> None:
    """Suppressed means that the finding is still there."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        [(name, record)] = life.store.objects.items()
        life.store.objects[name] = record | {"status": record["status"] | {"phase": "Suppressed"}}
        pipeline.mirror.put(_as(life.store.stored(name), Phase.SUPPRESSED))
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        await pipeline.intake.settle()

    assert life.states() == {"CVE-2026-1": "Resolved Fixed"}


def _as(stored: Any, phase: Phase) -> Any:
    from dataclasses import replace  # noqa: PLC0415

    return replace(stored, phase=phase, version=stored.version)


# ---------------------------------------------------------------- reopened


async def test_a_finding_that_returns_is_open_again(life: Life) -> None:
    """firstSeen stays, reopened rises by one, resolvedAt is removed."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        for version, findings in enumerate(([], [ONE], [], [ONE])):
            life.clock.advance(secs=60)
            pipeline.intake.take(NGINX, str(version), findings, subject=POD)
            await pipeline.intake.settle()

        assert (pipeline.intake.resolved, pipeline.intake.reopened) == (2, 2)

    assert life.states() == {"CVE-2026-1": "Open 2 Reopened"}
    status = life.status()
    assert (status["firstSeen"], status["lastSeen"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:04:00Z")
    assert "resolvedAt" not in status


async def test_a_finding_that_returns_changed_is_written_and_open_again(life: Life) -> None:
    """Spec and status."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        await pipeline.intake.settle()
        pipeline.intake.take(NGINX, "3", [a_finding(vuln_id="CVE-2026-1", severity=Severity.CRITICAL)], subject=POD)
        await pipeline.intake.settle()

    [record] = life.store.objects.values()
    assert (record["spec"]["severity"], _state(record["status"])) == ("CRITICAL", "Open 1 Reopened")


@pytest.mark.parametrize("times", [1, 3])
async def test_a_lost_answer_reopens_once(life: Life, times: int) -> None:
    """The write is repeated with the same content."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        await pipeline.intake.settle()

        life.store.lose_answers(times)
        pipeline.intake.take(NGINX, "3", [ONE], subject=POD)
        await _settled(pipeline)

    assert life.states() == {"CVE-2026-1": "Open 1 Reopened"}


async def test_a_resolution_that_fails_is_made_later(life: Life) -> None:
    """The reason is the same, and it is resolved once."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        life.store.fail_next(10, Transient("away"))
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        with pytest.raises(Transient):
            await pipeline.intake.settle()
        assert life.states() == {"CVE-2026-1": "Open"}
        await _settled(pipeline)

    assert life.states() == {"CVE-2026-1": "Resolved Fixed"}


async def _settled(pipeline: Pipeline) -> None:
    """Settle until nothing is left."""
    for _ in range(10):
        try:
            await pipeline.intake.settle()
        except Transient:
            continue


# ---------------------------------------------------------------- unknown is never empty


async def test_a_report_in_a_stale_scope_is_not_concluded_to_be_gone(life: Life) -> None:
    """Not before all changes of the meantime were reported."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.forget(NGINX)
        pipeline.intake.mark_stale(SCOPE)
        assert await life.after(pipeline, GRACE_SECS * 10) == {"CVE-2026-1": "Open"}

        pipeline.intake.mark_fresh(SCOPE)
        assert await life.after(pipeline, 0) == {"CVE-2026-1": "Resolved ReportGone"}


async def test_a_report_that_cannot_be_read_resolves_nothing(life: Life) -> None:
    """Neither a report that held the finding before, nor one that came back, nor one that was there at the start."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.cannot_read(NGINX)
        assert await life.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open"}
        pipeline.intake.forget(NGINX)
        pipeline.intake.cannot_read(NGINX)
        assert await life.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open"}
    async with life.running() as pipeline:
        pipeline.intake.cannot_read(NGINX)
        pipeline.intake.replace_all(SCOPE, {NGINX})
        assert await life.after(pipeline, 0) == {"CVE-2026-1": "Open"}
        assert await life.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open"}
        pipeline.intake.take(NGINX, "9", [OTHER], subject=POD)
        assert (await life.after(pipeline, 0))["CVE-2026-1"] == "Resolved Fixed"


async def test_an_unreadable_report_that_is_not_listed_any_more_has_the_grace_to_come_back(life: Life) -> None:
    """The grace begins when it disappears, however long it could not be read before."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
    async with life.running() as pipeline:
        pipeline.intake.cannot_read(NGINX)
        pipeline.intake.replace_all(SCOPE, {NGINX})
        assert await life.after(pipeline, GRACE_SECS * 12) == {"CVE-2026-1": "Open"}
        pipeline.intake.mark_stale(SCOPE)
        pipeline.intake.replace_all(SCOPE, ())
        assert await life.after(pipeline, GRACE_SECS - 1) == {"CVE-2026-1": "Open"}
        assert await life.after(pipeline, 1) == {"CVE-2026-1": "Resolved ReportGone"}


async def test_after_a_restart_only_a_complete_list_shows_what_is_gone(life: Life) -> None:
    """A finding that its report does not hold any more was fixed; a report that is not listed may come back during the grace."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE], SIDECAR: [OTHER]})
    async with life.running() as pipeline:
        pipeline.intake.take(NGINX, "2", [], subject=POD)
        assert await life.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        pipeline.intake.replace_all(SCOPE, {NGINX})
        assert await life.after(pipeline, 0) == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Open"}
        assert await life.after(pipeline, GRACE_SECS) == {"CVE-2026-1": "Resolved Fixed", "CVE-2026-2": "Resolved Fixed"}


async def test_after_a_restart_nothing_is_written_where_nothing_changed(life: Life) -> None:
    """Resolved records stay resolved, and open records stay open."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE, OTHER]})
        pipeline.intake.take(NGINX, "2", [OTHER], subject=POD)
        await pipeline.intake.settle()
    written = list(life.store.calls)
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [OTHER]})
        await life.after(pipeline, GRACE_SECS * 2)

    assert life.store.calls == written


@pytest.mark.parametrize(("is_confined", "state"), [(False, "Resolved ReportGone"), (True, "Open")])
async def test_a_record_without_a_report_may_belong_to_any_report(life: Life, *, is_confined: bool, state: str) -> None:
    """All kinds must be fresh before it is resolved; if only some namespaces are read, it stays open."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
    for record in life.store.objects.values():
        del record["metadata"]["annotations"]["zen.kube-zen.io/report"]
    both = frozenset({SCOPE, CONFIG_AUDITS})
    async with life.running(scopes=both, is_confined=is_confined) as pipeline:
        await _listed(pipeline, {})
        assert await life.after(pipeline, GRACE_SECS) == {"CVE-2026-1": "Open"}
        pipeline.intake.replace_all(CONFIG_AUDITS, ())
        await pipeline.intake.settle()
        assert await life.after(pipeline, GRACE_SECS) == {"CVE-2026-1": state}


@pytest.mark.parametrize("junk", ["nonsense", "a/b", "//", "", "/default/pod-nginx-web"])
async def test_a_report_annotation_that_is_no_reference_breaks_nothing(life: Life, junk: str) -> None:
    """Whoever may patch a record may write anything there: the record counts as one that names no report, and the others are settled."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE], SIDECAR: [OTHER]})
    edited = next(record for record in life.store.objects.values() if record["spec"]["details"]["vulnID"] == "CVE-2026-1")
    edited["metadata"]["annotations"]["zen.kube-zen.io/report"] = junk
    async with life.running() as pipeline:
        await _listed(pipeline, {})
        assert await life.after(pipeline, 0) == {"CVE-2026-1": "Open", "CVE-2026-2": "Open"}
        assert await life.after(pipeline, GRACE_SECS) == dict.fromkeys(("CVE-2026-1", "CVE-2026-2"), "Resolved ReportGone")


async def test_records_of_other_sources_are_not_resolved(life: Life) -> None:
    """Each source resolves its own records only."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        for record in life.store.objects.values():
            record["spec"]["source"] = "another"
    async with life.running() as pipeline:
        await _listed(pipeline, {})
        assert await life.after(pipeline, GRACE_SECS * 2) == {"CVE-2026-1": "Open"}


async def test_a_record_that_somebody_deleted_is_not_resolved(life: Life) -> None:
    """There is no record to write."""
    async with life.running() as pipeline:
        await _listed(pipeline, {NGINX: [ONE]})
        pipeline.intake.forget(NGINX)
        [name] = life.store.objects
        life.store.remove(name)
        await until(lambda: name not in pipeline.mirror)
        written = list(life.store.calls)
        await life.after(pipeline, GRACE_SECS)

    assert life.store.calls == written
