"""zenwatch/kube/records.py: a record is read as what it is, whatever a person made of it."""

import copy
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from tests.support.builders.findings import REPORTS, an_event
from tests.support.faults.edits import Edit, applied, edits
from zenwatch.kube.records import REPORT_ANNOTATION, object_of, stored_of
from zenwatch.model.record import spec_hash
from zenwatch.model.refs import ReportRef

REPORT = ReportRef(REPORTS, "default", "pod-nginx")


def a_record() -> dict[str, Any]:
    """As the API server returns it, with every field of the spec."""
    details = {"vulnID": "CVE-2026-1", "cvss": 7, "packages": ["zlib 1.2"], "junk": {}}
    event = an_event(remediation="Upgrade", references=("https://example.test/1",), details=details)
    record = object_of(event, namespace="default", hash_of_spec=spec_hash(event), report=REPORT)
    record["metadata"] |= {"resourceVersion": "7", "creationTimestamp": "2026-01-01T00:00:00Z"}
    record["status"] = {"phase": "Open", "count": 1, "reopened": 0, "reason": "", "firstSeen": "2026-01-01T00:00:00Z"}
    record["status"]["lastSeen"] = "2026-01-01T00:00:00Z"
    plain: dict[str, Any] = orjson.loads(orjson.dumps(record))
    return plain


UNCHANGED = a_record()


@pytest.mark.parametrize("edit", edits(), ids=str)
def test_every_edit_of_metadata_and_spec_is_noticed(edit: Edit) -> None:
    """So that the record is written again: nobody reads it to compare it. An edit of the status shows in the fields themselves."""
    try:
        edited = applied(copy.deepcopy(UNCHANGED), edit)
    except KeyError:
        pytest.skip("there is nothing to remove")

    stored = stored_of(edited)

    is_report = edit.path.endswith(REPORT_ANNOTATION.replace("/", "~1"))
    is_valid_report = is_report and stored.report in ("", "a/b/c")
    is_changed = edited != UNCHANGED and not edit.is_of_status and not edit.is_kept
    # Whether a report holds the finding, and whether it has one, only the caller knows.
    assert stored.is_edited == (is_changed and not is_valid_report) or (is_report and stored.report == "")


@pytest.mark.parametrize("edit", [edit for edit in edits() if edit.is_of_status], ids=str)
def test_no_status_of_a_person_breaks_the_reading(edit: Edit) -> None:
    """A next count still is a number of 64 bits, and every time is one."""
    try:
        edited = applied(copy.deepcopy(UNCHANGED), edit)
    except KeyError:
        pytest.skip("there is nothing to remove")
    if edit.path not in ("/status/count", "/status/reopened") or isinstance(edit.operations[0].get("value", 0), int):
        stored = stored_of(edited)

        assert max(stored.count, stored.reopened) + 2**32 < 2**63
        assert stored.first_seen <= stored_of(UNCHANGED).first_seen
        assert stored.seen_at <= datetime.max.replace(tzinfo=UTC)


def test_what_a_person_adds_is_no_edit() -> None:
    """Labels, annotations and owners of others are theirs."""
    record = a_record()
    record["metadata"]["labels"]["team"] = "shop"
    record["metadata"]["annotations"]["zen.kube-zen.io/ttl"] = "72h"
    record["metadata"]["finalizers"] = ["example.test/hold"]

    assert not stored_of(record).is_edited


def test_a_count_of_zero_is_a_count_of_zero() -> None:
    """A missing one is 1, the default of the definition."""
    zero, missing = a_record(), a_record()
    zero["status"]["count"] = 0
    del missing["status"]

    assert (stored_of(zero).count, stored_of(missing).count) == (0, 1)


def test_a_first_sighting_after_the_creation_is_not_believed() -> None:
    """It would make the last sighting as late. Only a record that was restored is younger than its first sighting."""
    future, restored = a_record(), a_record()
    future["status"]["firstSeen"] = "9999-12-31T23:59:59Z"
    restored["status"]["firstSeen"] = "2020-01-01T00:00:00Z"

    assert stored_of(future).first_seen == stored_of(UNCHANGED).first_seen
    assert stored_of(restored).first_seen < stored_of(UNCHANGED).first_seen
