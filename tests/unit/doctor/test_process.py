"""zenwatch/doctor/process: the checks of a zenwatch that runs, and of one that does not answer."""

from typing import Any

import pytest

from tests.support.doctor_cluster import Checks, FakeCluster, FakeProcess, a_process, a_source_status, a_status, diagnose, no_process


async def diagnosed(process: FakeProcess, *, listen: str = "") -> Checks:
    async with FakeCluster() as cluster:
        return await diagnose(cluster, process, LISTEN=listen)


# ---------------------------------------------------------------- no process answers


async def test_without_a_process_the_check_names_the_address_that_was_asked() -> None:
    """A warning, because the address may be wrong. The cluster is examined all the same."""
    found = await diagnosed(no_process())

    answers = found["process", "answers"]
    assert (answers.level, "http://127.0.0.1:8080: Connection refused" in answers.text) == ("WARN", True)
    assert any("--url" in line for line in answers.advice)
    assert found.at("WARN", "FAIL") == {("process", "answers")}
    assert found.at("UNKNOWN") == {("falco", "webhook"), ("audit", "webhook")}
    assert found["store", "access"].level == "OK"


async def test_no_process_at_the_address_of_url_is_a_failure() -> None:
    """--url names where the tools post: what they post is lost."""
    assert (await diagnosed(no_process(is_named=True)))["process", "answers"].level == "FAIL"


async def test_another_program_is_not_taken_for_zenwatch() -> None:
    """Whatever it answers at the other paths, it is ignored."""
    found = await diagnosed(FakeProcess({"/healthz": (200, "OK"), "/readyz": (200, ""), "/status": (200, {})}))

    assert (found["process", "answers"].level, "none (200 for GET /healthz)" in found["process", "answers"].text) == ("WARN", True)
    assert ("process", "ready") not in found


async def test_a_refusal_of_the_name_is_shown_with_the_setting_that_it_names() -> None:
    """zenwatch answers so when --url has a name that it does not know."""
    found = await diagnosed(FakeProcess({"/healthz": (403, "'box' is no name of zenwatch; add the name to ALLOWED_HOSTS\n")}))

    assert (found["process", "answers"].level, "ALLOWED_HOSTS" in found["process", "answers"].text) == ("WARN", True)


async def test_settings_with_which_zenwatch_would_not_start_are_a_failure_if_none_runs() -> None:
    """A process that runs has settings of its own."""
    alone, running = await diagnosed(no_process(), listen=":8080"), await diagnosed(a_process(), listen=":8080")

    assert (alone["process", "settings"].level, "WEBHOOK_TOKEN_FILE" in alone["process", "settings"].advice[0]) == ("FAIL", True)
    assert ("process", "settings") not in running


# ---------------------------------------------------------------- a process


@pytest.mark.parametrize("cause", ["policy", "quota", "webhook", "permission", "namespace", "slow", "of a newer version"])
async def test_a_namespace_that_refuses_records_is_a_failure_with_its_own_words(cause: str) -> None:
    """Which namespace, since when, how many wait, and what to change."""
    refused = {"namespace": "shop", "cause": cause, "error": "no records in here", "since": "2026-01-01T10:00:00Z"}
    status = a_status(writes={"retries": 0, "failing": False, "refused": [refused | {"waiting": 20, "dead_letters": 3}]})
    found = await diagnosed(a_process(status))

    writes = found["process", "writes"]
    assert writes.level == "FAIL"
    for part in ("shop", "no records in here", "2026-01-01T10:00:00Z", "20 wait", "3 events"):
        assert part in writes.text
    assert writes.advice[-1] == "What waits is stored by itself once that is done."


async def test_with_a_process_that_is_well_nothing_is_unknown() -> None:
    """And nothing has to be counted in the cluster."""
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
    ("code", "text", "advice"), [(404, "it has no /status", "Update it"), (401, "only to those who have a token", "WEBHOOK_TOKEN_FILE")]
)
async def test_a_status_that_is_not_answered_is_unknown(code: int, text: str, advice: str) -> None:
    """The process is older, or the token is missing. Buffers are also in /readyz."""
    process = a_process()
    assert process.pages is not None
    process.pages["/status"] = (code, "")

    found = await diagnosed(process)

    status = found["process", "status"]
    assert (status.level, text in status.text, advice in status.advice[0]) == ("UNKNOWN", True, True)
    assert found["falco", "buffer"].text == "3 of 100 events wait to be stored"
    assert found["falco", "sender"].level == "UNKNOWN"


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ([], "Input should be"),
        ({}, "version: Field required"),
        (a_status(budget=None), "budget: Input should be"),
        (a_status(sources={"trivy": a_source_status(open="7")}), "sources.trivy.open: Input should be a valid integer"),
        (a_status(sources={"falco": {"last_sender": ""}}), "sources.falco.last_data_at: Field required"),
        ("not JSON", "Invalid JSON"),
    ],
)
async def test_a_status_of_another_version_is_unknown_and_the_field_is_named(status: Any, field: str) -> None:
    """A field is missing or has another type. The rest of the diagnosis is as without a status."""
    found = await diagnosed(a_process(status))

    assert (found["process", "status"].level, f"another version ({field}" in found["process", "status"].text) == ("UNKNOWN", True)
    assert found["falco", "buffer"].text == "3 of 100 events wait to be stored"
    assert found.at("WARN", "FAIL") == set()


async def test_fields_of_a_newer_version_are_ignored() -> None:
    """All that this version knows is still used."""
    status = a_status(sources={"trivy": a_source_status(novel=1)}, novel={})

    found = await diagnosed(a_process(status))

    assert found.at("WARN", "FAIL", "UNKNOWN") == set()
    assert found["trivy", "data"].text == "last data 30 s ago; 7 records open"


async def test_a_process_that_is_not_ready_is_a_failure_with_its_reasons() -> None:
    """The lines of /readyz that are not well, and only those."""
    process = a_process()
    assert process.pages is not None
    process.pages["/readyz"] = (503, "apiserver fails: no answer\ncrds unknown\nbuffer/falco full: 100 of 100 events\n")

    found = await diagnosed(process)

    ready = found["process", "ready"]
    assert (ready.level, ready.text) == ("FAIL", "apiserver fails: no answer; buffer/falco full: 100 of 100 events")
    assert (found["falco", "buffer"].level, "FALCO_BUFFER_SIZE" in found["falco", "buffer"].advice[0]) == ("FAIL", True)


async def test_a_blocked_event_loop_is_a_failure() -> None:
    """The process answers, but late."""
    process = a_process()
    assert process.pages is not None
    process.pages["/healthz"] = (503, "loop late: last beat 20.0 s ago\n")

    assert (await diagnosed(process))["process", "answers"].level == "FAIL"


# ---------------------------------------------------------------- budget, writes, buffers


@pytest.mark.parametrize(
    ("budget", "level"),
    [
        ({"records": 100}, "OK"),
        ({"records": 799}, "OK"),
        ({"records": 800}, "WARN"),
        ({"records": 1000}, "FAIL"),
        ({"bytes": 99, "bytes_limit": 100}, "WARN"),
        ({"rolled_up": 3}, "FAIL"),
        ({"records": 1000, "records_limit": 0}, "OK"),
    ],
)
async def test_a_budget_that_fills_up_is_a_warning_and_a_full_one_a_failure(budget: dict[str, int], level: str) -> None:
    """The warning comes when zenwatch itself warns. Findings that are only counted are a failure too. A limit of 0 is never reached."""
    roomy = {"records": 1, "records_limit": 1000, "bytes": 0, "bytes_limit": 0, "rolled_up": 0}
    found = (await diagnosed(a_process(a_status(budget=roomy | budget))))["process", "budget"]

    assert (found.level, bool(found.advice)) == (level, level != "OK")


async def test_writes_that_fail_are_a_failure() -> None:
    """As long as they fail, nothing is stored."""
    found = (await diagnosed(a_process(a_status(writes={"retries": 12, "failing": True}))))["process", "writes"]

    assert (found.level, found.text) == ("FAIL", "they fail, 12 were made again so far")


@pytest.mark.parametrize(("used", "level"), [(0, "OK"), (90, "WARN"), (100, "FAIL")])
async def test_a_buffer_that_fills_up_is_a_warning_and_a_full_one_a_failure(used: int, level: str) -> None:
    """The advice names the setting that limits it: with a spool SPOOL_MAX_BYTES."""
    falco = a_source_status(buffer={"used": used, "capacity": 100, "unit": "bytes"})

    found = (await diagnosed(a_process(a_status(sources={"falco": falco}))))["falco", "buffer"]

    assert (found.level, any("SPOOL_MAX_BYTES" in line for line in found.advice)) == (level, level != "OK")


# ---------------------------------------------------------------- webhooks and tokens


@pytest.mark.parametrize(("code", "level"), [(405, "OK"), (401, "OK"), (404, "FAIL"), (502, "FAIL")])
async def test_a_webhook_that_refuses_get_is_there(code: int, level: str) -> None:
    """404: there is no webhook, and what is posted is lost. A code that zenwatch never answers comes from a proxy."""
    process = a_process()
    assert process.pages is not None
    process.pages["/falco/webhook"] = (code, "")

    found = (await diagnosed(process))["falco", "webhook"]

    assert (found.level, bool(found.advice)) == (level, level != "OK")


async def test_if_no_sender_has_posted_the_advice_is_how_to_make_it_post() -> None:
    """Only a post shows that the sender reaches the webhook. Until then the check is UNKNOWN, not WARN."""
    found = (await diagnosed(a_process(a_status(sources={"audit": a_source_status(last_post_at=None)}))))["audit", "sender"]

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
async def test_doctor_sees_who_may_post_without_posting(
    url: str,
    without_token: int,
    with_token: int,
    has_token: bool,  # noqa: FBT001
    level: str,
) -> None:
    """GET /explain without a query is 400 for those who may post, and 401 for others."""
    process = a_process(has_token=has_token)
    assert process.pages is not None
    process.url = url
    process.pages |= {"/explain without token": (without_token, ""), "/explain": (with_token, "")}

    found = (await diagnosed(process))["process", "token"]

    assert (found.level, bool(found.advice)) == (level, level == "WARN")
