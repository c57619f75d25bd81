"""When a Kubernetes object was written last, as far as it says."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zenwatch.sources.monitor.silence import written_at

# The same examples every time: a build fails for what was changed, not for luck.
SETTINGS = settings(max_examples=200, deadline=None, derandomize=True, database=None)


def an_object(created: Any, *changed: Any) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": created, "managedFields": [{"manager": "trivy-operator", "time": time} for time in changed]}}


def test_an_object_was_written_when_somebody_wrote_it_last() -> None:
    """Reports that are updated keep the day they were created."""
    report = an_object("2026-01-01T10:00:00Z", "2026-01-03T09:00:00+01:00", "2026-01-02T10:00:00Z")

    assert written_at(report) == datetime(2026, 1, 3, 8, tzinfo=UTC)


def test_without_managed_fields_an_object_was_written_when_it_was_created() -> None:
    """Some clients leave them out."""
    assert written_at({"metadata": {"creationTimestamp": "2026-01-01T10:00:00Z"}}) == datetime(2026, 1, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "report",
    [
        {},
        {"metadata": None},
        {"metadata": {"creationTimestamp": None, "managedFields": "x"}},
        {"metadata": {"managedFields": [None, 1, {}]}},
        an_object("yesterday", 12, None, "2026-01-01"),
        an_object("0001-01-01T00:00:00+14:00", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_an_object_that_does_not_say_when_was_written_nobody_knows_when(report: dict[str, Any]) -> None:
    """Junk is no time."""
    assert written_at(report) is None


@SETTINGS
@given(st.dictionaries(st.text(max_size=3), st.none() | st.text()), st.lists(st.none() | st.text() | st.integers()))
def test_no_object_makes_it_raise(metadata: dict[str, Any], times: list[Any]) -> None:
    """Whatever stands where times should be."""
    written_at({"metadata": metadata})
    written_at(an_object(metadata, *times))
    written_at({"metadata": {"managedFields": times}})
