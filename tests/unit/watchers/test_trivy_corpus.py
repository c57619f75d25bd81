"""Real reports of Trivy Operator and Starboard from the folder $ZENWATCH_CORPUS, which is not part of the project."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.corpus import objects_of
from tests.support.fakes.crd import violations
from tests.support.parsed import whole
from watchers.trivy import parse
from zenwatch.model.event import Event
from zenwatch.model.finding import Severity
from zenwatch.model.record import spec_of
from zenwatch.processing.event.merge import merge
from zenwatch.processing.event.normalise import normalise

DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
SEEN_AT = datetime(2026, 1, 1, tzinfo=UTC)
SUMMARISED = (
    ("criticalCount", Severity.CRITICAL),
    ("highCount", Severity.HIGH),
    ("mediumCount", Severity.MEDIUM),
    ("lowCount", Severity.LOW),
)


def _reports() -> list[Any]:
    """The VulnerabilityReports of the corpus, or a skipped parameter."""
    return [
        pytest.param(parameter.values[1], id=parameter.id, marks=parameter.marks)
        for parameter in objects_of("trivy")
        if parameter.marks or parameter.values[1].get("kind") == "VulnerabilityReport"
    ]


@pytest.mark.parametrize("report", _reports())
class TestRealReports:
    def test_every_entry_is_a_finding(self, report: dict[str, Any]) -> None:
        """No finding is lost, and none is invented."""
        assert len(list(whole(parse(report)))) == len(report["report"]["vulnerabilities"] or ())

    def test_severities_are_counted_as_the_tool_counts_them(self, report: dict[str, Any]) -> None:
        """In the tool's own summary, if it counts all entries."""
        summary = report["report"]["summary"]
        if sum(summary.values()) != len(report["report"]["vulnerabilities"] or ()):
            pytest.skip("this report's summary does not count its entries")
        found = [finding.severity for finding in whole(parse(report))]

        assert {count: found.count(severity) for count, severity in SUMMARISED} == {count: summary[count] for count, _ in SUMMARISED}

    def test_keys_begin_with_the_scanned_resource(self, report: dict[str, Any]) -> None:
        """namespace/kind/name/vulnID, as in the labels."""
        labels = {label.partition(".")[2]: value for label, value in report["metadata"]["labels"].items()}
        for finding, entry in zip(whole(parse(report)), report["report"]["vulnerabilities"] or (), strict=True):
            assert finding.key == "/".join(
                [labels["resource.namespace"], labels["resource.kind"], labels["resource.name"], entry["vulnerabilityID"]]
            )
            assert finding.details["package"] == entry["resource"]
            assert finding.details["container"] == labels["container.name"]

    def test_every_event_is_within_the_limits_of_the_crd(self, report: dict[str, Any]) -> None:
        """Alone, and merged with the other events of its key."""
        by_name: dict[str, list[Event]] = {}
        for finding in whole(parse(report)):
            event = normalise(finding, cluster_id="local", seen_at=SEEN_AT)
            by_name.setdefault(event.name, []).append(event)

        for name, events in by_name.items():
            assert DNS_SUBDOMAIN.fullmatch(name)
            assert len(name) <= 253
            for event in (*events, merge(events)):
                assert violations(spec_of(event)) == []
