"""zenwatch/doctor/process.py, hooks.py and status.py: what a zenwatch that runs tells, or that none does."""

from typing import Any

import pytest

from tests.support.doctor_cluster import FakeCluster, FakeProcess, Findings, a_process, diagnose, nobody, rfc3339
from zenwatch.doctor.status import Status


def a_status(**changes: Any) -> dict[str, Any]:
    """As a zenwatch that is well would answer."""
    source: dict[str, Any] = {
        "last_data_at": rfc3339(30),
        "last_post_at": None,
        "last_sender": "",
        "open": 7,
        "silent_since": None,
        "missing_fields": [],
    }
    pushed = source | {"last_post_at": rfc3339(5), "last_sender": "10.0.0.7", "buffer": {"used": 1, "capacity": 100, "unit": "events"}}
    names = ("trivy", "kyverno", "kube-bench", "checkov")
    said = {
        "version": "0.2.0",
        "started_at": rfc3339(7200),
        "sources": {name: dict(source) for name in names} | {"falco": dict(pushed), "audit": dict(pushed)},
        "budget": {"records": 100, "records_limit": 20_000, "bytes": 5 << 20, "bytes_limit": 200 << 20, "rolled_up": 0},
        "writes": {"retries": 3, "failing": False},
    }
    return said | changes


async def told(process: FakeProcess, *, listen: str = "") -> Findings:
    async with FakeCluster() as cluster:
        return await diagnose(cluster, process, LISTEN=listen)


# ---------------------------------------------------------------- nobody is there


async def test_without_a_process_what_it_knows_is_unknown_and_where_it_was_looked_for_is_said() -> None:
    """A warning: doctor may be looking in the wrong place. The cluster is examined all the same."""
    found = await told(nobody())

    answers = found["process", "answers"]
    assert (answers.level, "http://127.0.0.1:8080: Connection refused" in answers.text) == ("WARN", True)
    assert any("--url" in line for line in answers.advice)
    assert found.at("WARN", "FAIL") == {("process", "answers")}
    assert found.at("UNKNOWN") == {("falco", "webhook"), ("audit", "webhook")}
    assert found["store", "access"].level == "OK"


async def test_nobody_where_somebody_was_said_to_be_is_a_failure() -> None:
    """--url named it: what is posted there is lost."""
    assert (await told(nobody(is_named=True)))["process", "answers"].level == "FAIL"


async def test_another_program_is_not_taken_for_zenwatch() -> None:
    """Whatever it answers: nothing is concluded from its pages."""
    found = await told(FakeProcess({"/healthz": (200, "OK"), "/readyz": (200, ""), "/status": (200, {})}))

    assert (found["process", "answers"].level, "none (200 for GET /healthz)" in found["process", "answers"].text) == ("WARN", True)
    assert ("process", "ready") not in found


async def test_settings_that_would_end_the_start_are_told_where_nobody_runs() -> None:
    """A process that runs has settings of its own."""
    alone, running = await told(nobody(), listen=":8080"), await told(a_process(), listen=":8080")

    assert (alone["process", "settings"].level, "WEBHOOK_TOKEN_FILE" in alone["process", "settings"].advice[0]) == ("FAIL", True)
    assert ("process", "settings") not in running


# ---------------------------------------------------------------- a process


async def test_a_process_that_is_well_is_told_in_full() -> None:
    """Nothing is unknown, and nothing has to be counted in the cluster."""
    async with FakeCluster() as cluster:
        found = await diagnose(cluster, a_process(a_status()))

    assert found.at("WARN", "FAIL", "UNKNOWN") == set()
    assert found["process", "answers"].text == "zenwatch 0.2.0 runs at http://127.0.0.1:8080, since 2 hours"
    assert found["process", "writes"].text == "they reach the API server, 3 were made again so far"
    assert found["process", "budget"].text == "100 of 20000 records, 5 of 200 MiB"
    assert found["falco", "sender"].text == "last post 5 s ago by 10.0.0.7"
    assert found["trivy", "data"].text == "last data 30 s ago; 7 records open"
    assert not [path for path, _ in cluster.lists if "zenagentevents" in path or "reports" in path]


@pytest.mark.parametrize(
    ("code", "said", "advice"), [(404, "it has no /status", "Update it"), (401, "only to those who have a token", "WEBHOOK_TOKEN_FILE")]
)
async def test_a_status_that_is_not_told_is_unknown(code: int, said: str, advice: str) -> None:
    """Of an older zenwatch, or without a token; buffers are also told by /readyz."""
    process = a_process()
    assert process.pages is not None
    process.pages["/status"] = (code, "")

    found = await told(process)

    status = found["process", "status"]
    assert (status.level, said in status.text, advice in status.advice[0]) == ("UNKNOWN", True, True)
    assert found["falco", "buffer"].text == "3 of 100 events wait to be stored"
    assert found["falco", "sender"].level == "UNKNOWN"


@pytest.mark.parametrize("said", [None, [], "", 5, {"sources": [], "budget": 7, "writes": None}, {"sources": {"trivy": None, "falco": {}}}])
async def test_a_status_of_another_shape_is_as_good_as_what_it_says(said: Any) -> None:
    """Absent and misshapen keys alike."""
    found = await told(a_process(said if said is not None else {}))

    assert found.at("WARN", "FAIL") == set()
    assert Status.of(said).budget is None


async def test_a_process_that_is_not_ready_says_what_is_in_the_way() -> None:
    """The lines that are not well, and only those."""
    process = a_process()
    assert process.pages is not None
    process.pages["/readyz"] = (503, "apiserver fails: no answer\ncrds unknown\nbuffer/falco full: 100 of 100 events\n")

    found = await told(process)

    ready = found["process", "ready"]
    assert (ready.level, ready.text) == ("FAIL", "apiserver fails: no answer; buffer/falco full: 100 of 100 events")
    assert (found["falco", "buffer"].level, "FALCO_BUFFER_SIZE" in found["falco", "buffer"].advice[0]) == ("FAIL", True)


async def test_a_loop_that_is_held_is_a_failure() -> None:
    """It answers, but late."""
    process = a_process()
    assert process.pages is not None
    process.pages["/healthz"] = (503, "loop late: last beat 20.0 s ago\n")

    assert (await told(process))["process", "answers"].level == "FAIL"


# ---------------------------------------------------------------- budget, writes, buffers


@pytest.mark.parametrize(
    ("budget", "level"),
    [
        ({"records": 100, "records_limit": 1000}, "OK"),
        ({"records": 799, "records_limit": 1000}, "OK"),
        ({"records": 800, "records_limit": 1000}, "WARN"),
        ({"records": 1000, "records_limit": 1000}, "FAIL"),
        ({"records": 1, "records_limit": 1000, "bytes": 99, "bytes_limit": 100}, "WARN"),
        ({"records": 1, "records_limit": 1000, "rolled_up": 3}, "FAIL"),
        ({"records": 1000, "records_limit": 0}, "OK"),
    ],
)
async def test_a_budget_that_fills_up_is_told_in_time(budget: dict[str, int], level: str) -> None:
    """As early as zenwatch itself says so; when it is full, or findings are only counted, they are being lost. No limit is never full."""
    found = (await told(a_process(a_status(budget=budget))))["process", "budget"]

    assert (found.level, bool(found.advice)) == (level, level != "OK")


async def test_writes_that_fail_are_a_failure() -> None:
    """Nothing is stored meanwhile."""
    found = (await told(a_process(a_status(writes={"retries": 12, "failing": True}))))["process", "writes"]

    assert (found.level, found.text) == ("FAIL", "they fail, 12 were made again so far")


@pytest.mark.parametrize(("used", "level"), [(0, "OK"), (90, "WARN"), (100, "FAIL")])
async def test_a_buffer_that_fills_up_is_told(used: int, level: str) -> None:
    """With a spool the setting is another one."""
    status = a_status()
    for name in ("falco", "audit"):
        status["sources"][name] = {"buffer": {"used": used, "capacity": 100, "unit": "bytes"}}

    found = (await told(a_process(status)))["falco", "buffer"]

    assert (found.level, any("SPOOL_MAX_BYTES" in line for line in found.advice)) == (level, level != "OK")


# ---------------------------------------------------------------- webhooks and tokens


@pytest.mark.parametrize(("code", "level"), [(405, "OK"), (401, "OK"), (404, "FAIL"), (502, "FAIL")])
async def test_a_webhook_is_there_where_get_is_refused(code: int, level: str) -> None:
    """404: there is nothing, and what is posted there is lost. What zenwatch never answers comes from somebody in between."""
    process = a_process()
    assert process.pages is not None
    process.pages["/falco/webhook"] = (code, "")

    found = (await told(process))["falco", "webhook"]

    assert (found.level, bool(found.advice)) == (level, level != "OK")


async def test_nobody_having_posted_says_how_to_make_them() -> None:
    """Whether the API server's webhook can reach us, only its posts show: unknown, not a warning."""
    status = a_status()
    status["sources"]["audit"] |= {"last_post_at": None}

    found = (await told(a_process(status)))["audit", "sender"]

    assert (found.level, "only its posts show" in found.text) == ("UNKNOWN", True)
    assert "AUDIT_ENABLED=false" in found.advice[1]


@pytest.mark.parametrize(
    ("url", "without_token", "with_token", "has_token", "level"),
    [
        ("http://127.0.0.1:8080", 400, 400, False, "OK"),
        ("http://[::1]:8080", 400, 400, False, "OK"),
        ("http://10.0.0.1:8080", 400, 400, False, "WARN"),
        ("http://10.0.0.1:8080", 401, 401, False, "OK"),
        ("http://10.0.0.1:8080", 401, 400, True, "OK"),
        ("http://10.0.0.1:8080", 401, 401, True, "WARN"),
        ("http://10.0.0.1:8080", 404, 404, True, "UNKNOWN"),
    ],
)
async def test_who_may_post_is_seen_without_posting(url: str, without_token: int, with_token: int, has_token: bool, level: str) -> None:  # noqa: FBT001
    """By asking for an explanation of nothing: 400 for those who may, 401 for the others."""
    process = a_process(has_token=has_token)
    assert process.pages is not None
    process.url = url
    process.pages |= {"/explain without token": (without_token, ""), "/explain": (with_token, "")}

    found = (await told(process))["process", "token"]

    assert (found.level, bool(found.advice)) == (level, level == "WARN")
