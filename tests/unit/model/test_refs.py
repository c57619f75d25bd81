"""zenwatch/model/refs.py: references are text in a record's annotation, and parsed once."""

import pytest

from zenwatch.model.refs import ReportRef


@pytest.mark.parametrize(
    "report",
    [
        ReportRef("vulnerabilityreports.aquasecurity.github.io", "default", "nginx"),
        ReportRef("clusterpolicyreports.wgpolicyk8s.io", "", "a"),
    ],
)
def test_a_reference_is_read_as_it_was_written(report: ReportRef) -> None:
    """Of an object in a namespace, and of one of the whole cluster."""
    assert ReportRef.parse(str(report)) == report


@pytest.mark.parametrize("text", ["", "nginx", "kind/nginx", "///"])
def test_an_annotation_that_somebody_edited_is_no_reference(text: str) -> None:
    """A person may write anything there; the record is then treated as one without a report."""
    assert ReportRef.parse(text) is None
