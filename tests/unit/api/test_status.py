"""zenwatch/api/status.py: what `zenwatch doctor` reads."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from importlib.metadata import version
from typing import Any

import orjson

from tests.support.web.records import FakeRecords
from zenwatch.api.status import ProcessReport, SourceReport, status
from zenwatch.model.queue import Fill
from zenwatch.model.refs import Origin
from zenwatch.model.status import RejectedReport

NOON = datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC)
EAST = timezone(timedelta(hours=2))


def a_source(name: str) -> SourceReport:
    """Of which nothing is known yet."""
    return SourceReport(
        Origin("local", name), last_data_at=None, last_post_at=None, last_sender="", silent_since=None, missing_fields=[], fill=None
    )


def a_push_source() -> SourceReport:
    """Whose last data has another zone."""
    return SourceReport(
        Origin("local", "falco"),
        last_data_at=NOON.astimezone(EAST),
        last_post_at=NOON,
        last_sender="10.0.0.7",
        silent_since=NOON,
        missing_fields=["time"],
        fill=Fill(3, 100),
        rejected=4,
    )


async def test_the_status_has_all_that_a_doctor_asks_also_what_is_not_known() -> None:
    """This JSON is what released doctors read: keys in this order, times in UTC to the second."""
    records = FakeRecords(open={Origin("local", "trivy"): 7, Origin("east", "falco"): 9}, total_records=12, total_bytes=3000)
    rejected: dict[str, Any] = {
        "rejected": 9,
        "rejected_reports": 1,
        "rejected_examples": [RejectedReport("vulnerabilityreports a/b", "no", 9)],
    }
    trivy = replace(a_source("trivy"), **rejected)
    report = ProcessReport([trivy, a_push_source()], records_limit=100, bytes_limit=4000, rolled_up=5, is_failing=True)

    answer = await status(records, lambda: report, NOON)

    retries = answer.writes.retries
    assert orjson.dumps(answer).decode() == (
        f'{{"version":"{version("zenwatch")}","started_at":"2026-01-01T12:00:00Z","sources":{{'
        '"trivy":{"last_data_at":null,"last_post_at":null,"last_sender":"","open":7,"silent_since":null,"missing_fields":[],"buffer":null,'
        '"rejected":9,"rejected_reports":1,"rejected_examples":[{"report":"vulnerabilityreports a/b","reason":"no","entries":9}]},'
        '"falco":{"last_data_at":"2026-01-01T12:00:00Z","last_post_at":"2026-01-01T12:00:00Z","last_sender":"10.0.0.7","open":0,'
        '"silent_since":"2026-01-01T12:00:00Z","missing_fields":["time"],"buffer":{"used":3,"capacity":100,"unit":"events"},'
        '"rejected":4,"rejected_reports":0,"rejected_examples":[]}},'
        '"budget":{"records":12,"records_limit":100,"bytes":3000,"bytes_limit":4000,"rolled_up":5},'
        f'"writes":{{"retries":{retries},"failing":true,"refused":[]}}}}'
    )


def test_the_model_of_the_status_imports_no_pydantic() -> None:
    """The process that answers pays for what it imports; only the doctor, which reads the answer, validates it."""
    code = "import sys, zenwatch.model.status; sys.exit('pydantic' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
