"""What every contract.Intake promises. The subclass gives the fixture `harness`: an intake whose writes reach a MemoryStore."""

from typing import Protocol

import pytest

from tests.support.builders.findings import REPORTS, a_finding
from tests.support.fakes.store import MemoryStore
from zenwatch.contract import Intake
from zenwatch.errors import Transient
from zenwatch.model.finding import Severity
from zenwatch.model.refs import Origin, ReportRef, Scope
from zenwatch.processing.accounts import Ledger

SCOPE = Scope(REPORTS)
POD, OTHER_POD = ReportRef(REPORTS, "default", "pod-a"), ReportRef(REPORTS, "default", "pod-b")
CVE_1, CVE_2 = "default/Pod/nginx/CVE-2026-1", "default/Pod/nginx/CVE-2026-2"


class IntakeHarness(Protocol):
    """The source is called trivy and findings below LOW are filtered."""

    intake: Intake
    store: MemoryStore
    ledger: Ledger


class IntakeSuite:
    async def test_settle_stores_what_was_taken(self, harness: IntakeHarness) -> None:
        """take() changes memory only; settle() returns when the records are stored."""
        harness.intake.take(POD, "1", [a_finding(vuln_id="CVE-2026-1"), a_finding(vuln_id="CVE-2026-2")])
        assert harness.store.calls == []

        await harness.intake.settle()

        assert sorted(_keys(harness)) == [CVE_1, CVE_2]
        assert _page(harness) == {"received": 2, "stored": 2}

    async def test_a_report_has_the_version_that_was_taken(self, harness: IntakeHarness) -> None:
        """The source compares it, so that it parses no report twice."""
        assert harness.intake.version_of(POD) is None

        harness.intake.take(POD, "7", [])

        assert harness.intake.version_of(POD) == "7"
        harness.intake.forget(POD)
        assert harness.intake.version_of(POD) is None

    async def test_settling_twice_writes_once(self, harness: IntakeHarness) -> None:
        """A record that is up to date is not written."""
        harness.intake.take(POD, "1", [a_finding()])
        await harness.intake.settle()

        await harness.intake.settle()
        harness.intake.take(POD, "2", [a_finding()])
        await harness.intake.settle()

        assert harness.store.operations() == ["create"]
        assert _page(harness) == {"received": 2, "stored": 1, "repeated": 1}

    async def test_taking_a_report_again_replaces_its_findings(self, harness: IntakeHarness) -> None:
        """A finding with another severity is written with that severity."""
        harness.intake.take(POD, "1", [a_finding(severity=Severity.HIGH)])
        await harness.intake.settle()

        harness.intake.take(POD, "2", [a_finding(severity=Severity.CRITICAL)])
        await harness.intake.settle()

        assert [spec["severity"] for spec in harness.store.specs()] == ["CRITICAL"]

    async def test_findings_below_the_least_severity_are_filtered(self, harness: IntakeHarness) -> None:
        """They are counted, and not stored."""
        harness.intake.take(POD, "1", [a_finding(severity=Severity.INFO), a_finding(vuln_id="CVE-2026-2", severity=Severity.LOW)])

        await harness.intake.settle()

        assert _keys(harness) == [CVE_2]
        assert _page(harness) == {"received": 2, "stored": 1, "filtered": 1}

    async def test_forgetting_an_unknown_report_is_no_error(self, harness: IntakeHarness) -> None:
        """A watch also reports the deletion of a report that was rejected."""
        harness.intake.forget(POD)

        await harness.intake.settle()

        assert harness.store.calls == []

    async def test_a_complete_list_forgets_the_other_reports_of_its_kind(self, harness: IntakeHarness) -> None:
        """It is no list of another kind."""
        other_kind = ReportRef("configauditreports.aquasecurity.github.io", "default", "pod-a")
        for report in (POD, OTHER_POD, other_kind):
            harness.intake.take(report, "1", [])

        harness.intake.replace_all(SCOPE, {OTHER_POD})

        assert [harness.intake.version_of(report) for report in (POD, OTHER_POD, other_kind)] == [None, "1", "1"]

    async def test_a_kind_whose_name_begins_like_another_is_another_kind(self, harness: IntakeHarness) -> None:
        """reports.example.com is not reports.example.community."""
        longer = ReportRef("reports.example.community", "default", "a")
        harness.intake.take(longer, "1", [])

        harness.intake.replace_all(Scope("reports.example.com"), set())

        assert harness.intake.version_of(longer) == "1"

    async def test_what_was_not_written_is_written_by_a_later_settle(self, harness: IntakeHarness) -> None:
        """settle() raises Transient as long as something is left; its findings stay in flight in the accounts."""
        harness.intake.take(POD, "1", [a_finding()])
        harness.store.fail_next(10, Transient("the store is away"))
        with pytest.raises(Transient):
            await harness.intake.settle()
        assert _page(harness) == {"received": 1, "in_flight": 1}

        while True:
            try:
                await harness.intake.settle()
            except Transient:
                continue
            break

        assert _keys(harness) == [CVE_1]
        assert _page(harness) == {"received": 1, "stored": 1}


def _keys(harness: IntakeHarness) -> list[str]:
    return [spec["key"] for spec in harness.store.specs()]


def _page(harness: IntakeHarness) -> dict[str, int]:
    return {line: count for line, count in harness.ledger.page(Origin("local", "trivy")).items() if count}
