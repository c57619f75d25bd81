"""watchers/falco: bodies, excluded alerts, keys, severities and titles. test_falco_forms.py has the rest."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.builders.falco_alerts import FIELDS, OWN, SENTENCE, alerts_in, an_alert, found, judged
from watchers.falco import FALCO
from watchers.falco.body import decode
from watchers.falco.finding import ALERT
from watchers.falco.watcher import FalcoSettings
from zenwatch.errors import BadInput, ConfigError
from zenwatch.model.finding import Finding, Resource, Severity
from zenwatch.sdk.watcher import SelfIdentity, Verdict

# ---------------------------------------------------------------- a body


def test_a_body_is_an_alert_or_a_list_of_alerts() -> None:
    """Falco posts a single alert. Programs that collect alerts post lists."""
    assert alerts_in(json.dumps(an_alert())) == [an_alert()]
    assert alerts_in(json.dumps([an_alert(), an_alert(rule="other")])) == [an_alert(), an_alert(rule="other")]
    assert alerts_in("[]") == []
    assert alerts_in("\ufeff" + json.dumps(an_alert())) == [an_alert()]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b'{"rule": ', "not JSON: .* at byte 9"),
        ('{"rule": "ä", x'.encode(), "not JSON: .* at byte 15"),
        (b'{"rule": "\xff"}', "not UTF-8 at byte 10"),
        (b"10:00:00.1: Notice x", "not JSON: .* at byte"),
        (b'{"rule": "\x00"}', "not JSON"),
        (b'{"rule": "\\ud800"}', "not JSON"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"rule": "a"}{"rule": "b"}', "not JSON"),
        (b'"text"', "the body is a text"),
        (b"17", "the body is a number"),
        (b"1.5", "the body is a number"),
        (b"true", "the body is true or false"),
        (b"null", "the body is null"),
        (b'[{"rule": "a"}, 7]', "entry 1 of the list is a number"),
        (b'[[{"rule": "a"}]]', "entry 0 of the list is a list"),
    ],
)
def test_a_wrong_body_is_bad_input_and_the_error_states_what_was_expected(body: bytes, wrong: str) -> None:
    """In a single line, and before the first alert: zenwatch accepts a whole body or nothing of it."""
    with pytest.raises(BadInput, match=wrong) as raised:
        next(decode(body, "application/json"))

    assert "; expected one Falco alert as a JSON object" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("number", ["9223372036854775808", "18446744073709551616", "1e400", "-0.0", "1" * 500])
def test_numbers_of_any_size_are_harmless(number: str) -> None:
    """evt.time has more digits than a double. A number of more than 64 bits is no time."""
    try:
        [alert] = alerts_in(f'{{"rule": "x", "output_fields": {{"evt.time": {number}}}}}')
    except BadInput:
        return
    finding = judged(alert).finding

    assert finding is not None
    assert finding.detected_at is None or finding.detected_at.year == 2262


def test_without_json_output_each_line_is_an_alert() -> None:
    """With json_output: false Falco posts text/plain."""
    text = "10:00:00.1: Notice A (user=root)\r\n\n2026-01-01T10:00:00.123456789+0000: Warning B\n"

    [first, second] = (judged(alert).finding for alert in alerts_in(text, "text/plain"))

    assert first is not None
    assert second is not None
    assert (first.key, first.title, first.severity, first.detected_at) == ("//A (user=root)", "A", Severity.LOW, None)
    assert (second.key, second.severity, second.detected_at) == (
        "//B",
        Severity.MEDIUM,
        datetime(2026, 1, 1, 10, 0, 0, 123456, tzinfo=UTC),
    )
    assert second.details == {"priority": "Warning", "output": "B", "samples": ["2026-01-01T10:00:00.123456789+0000: Warning B"]}


def test_a_line_without_a_time_belongs_to_the_alert_before_it() -> None:
    """A command line may be a whole script. Each line before the first time is an alert."""
    texts = [alert["output"] for alert in alerts_in("one\ntwo\n10:00:00.1: Notice A (command=sh -c id\nls)\n10:00:00.2: B", "text/plain")]

    assert [text.strip() for text in texts] == ["one", "two", "10:00:00.1: Notice A (command=sh -c id\nls)", "10:00:00.2: B"]


def test_text_may_hold_any_bytes() -> None:
    """The arguments of a program may be any bytes."""
    assert alerts_in(b"\xef\xbb\xbf10:00:00.1: Notice \xff\x00 x", "text/plain") == [{"output": "10:00:00.1: Notice \ufffd\x00 x"}]
    with pytest.raises(BadInput, match="empty"):
        alerts_in(b" \n ", "text/plain")


def test_json_with_the_media_type_of_text_is_read_as_json() -> None:
    """A proxy may change the media type."""
    assert alerts_in(" " + json.dumps(an_alert()), "text/plain") == [an_alert()]


def test_a_long_text_is_split_completely() -> None:
    """With quadratic time this test would take minutes."""
    assert len(alerts_in("x\n" * 200_000, "text/plain")) == 200_000
    assert len(alerts_in(" \n" * 500_000 + "x", "text/plain")) == 1
    assert len(alerts_in("10:00:00.1: x\n" * 50_000, "text/plain")) == 50_000


@pytest.mark.parametrize(
    ("document", "claimed"),
    [
        (an_alert(), True),
        ([an_alert(), an_alert()], True),
        ({"output": "x", "priority": "Notice"}, True),
        ({"rule": "x", "output_fields": {}}, True),
        ([], False),
        ([an_alert(), {}], False),
        ({"rule": "x"}, False),
        ({"rule": "x", "priority": 1}, False),
        ({"kind": "EventList", "items": []}, False),
        ({"Controls": []}, False),
        ("output", False),
        (None, False),
    ],
)
def test_claims_tells_falcos_documents_from_others(document: Any, *, claimed: bool) -> None:
    """`zenwatch preview` reads files of all tools."""
    assert FALCO.claims(document) is claimed


# ---------------------------------------------------------------- excluded alerts


def test_an_alert_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
    assert judged(an_alert()) == Verdict(
        rule="alert",
        why="A rule of Falco's fired.",
        finding=Finding(
            type=ALERT,
            key="Terminal shell in container/catalog-0/A shell was spawned in a container (user=root comm",
            severity=Severity.LOW,
            title="Terminal shell in container: A shell was spawned in a container",
            resource=Resource("v1", "Pod", "catalog-0", "shop"),
            details={
                "rule": "Terminal shell in container",
                "priority": "Notice",
                "output": f"{SENTENCE} (user=root command=sh -c id)",
                "container": "web",
                "containerID": "0f3c1a7be2d4",
                "image": "docker.io/library/nginx:1.27",
                "imageDigest": FIELDS["container.image.digest"],
                "node": "worker-1",
                "process": "sh",
                "user": "root",
                "falcoSource": "syscall",
                "tags": ["container", "shell"],
                "samples": [f"10:00:00.123456789: Notice {SENTENCE} (user=root command=sh -c id)"],
            },
            detected_at=datetime(2026, 1, 1, 10, 0, 0, 123456, tzinfo=UTC),
        ),
    )
    assert (ALERT.source, ALERT.name_prefix, ALERT.event_type, ALERT.category) == (FALCO.name, "falco-", "runtime-security", "security")


@pytest.mark.parametrize(
    "changes",
    [
        {"source": "internal"},
        {"source": "Internal", "rule": "Falco metrics snapshot"},
        {"rule": "Falco internal: syscall event drop"},
        {"rule": KeyError, "output": "10:00:00.1: Debug Falco internal: syscall event drop. 7 system calls dropped in last second."},
        {"rule": KeyError, "output": "Falco internal: hot restart failure"},
    ],
)
def test_telemetry_is_left_out(changes: dict[str, Any]) -> None:
    """Falco posts its telemetry in the form of an alert."""
    verdict = judged(an_alert(**changes))

    assert (verdict.rule, verdict.finding) == ("telemetry", None)


@pytest.mark.parametrize(
    ("least", "priority", "rule"),
    [
        ("", "Debug", "alert"),
        ("Notice", "Notice", "alert"),
        ("notice", "NOTICE", "alert"),
        ("notice", "Informational", "below-priority"),
        ("notice", "info", "below-priority"),
        ("INFO", "Informational", "alert"),
        ("emergency", "Alert", "below-priority"),
        ("emergency", "Emergency", "alert"),
        ("critical", "Error", "below-priority"),
        ("critical", "Strange", "alert"),
    ],
)
def test_alerts_below_a_priority_can_be_left_out(least: str, priority: str, rule: str) -> None:
    """An unknown priority does not count as low."""
    assert judged(an_alert(priority=priority), FALCO_MIN_PRIORITY=least).rule == rule


def test_a_wrong_priority_is_a_config_error() -> None:
    """The error states what is accepted."""
    with pytest.raises(ConfigError, match="FALCO_MIN_PRIORITY is 'high'; expected one of emergency, alert, critical, error"):
        FalcoSettings.read({"FALCO_MIN_PRIORITY": "high"}, prefix="FALCO_")


CONTACT = {"rule": "Contact K8S API Server From Container"}
OURS = {"k8s.ns.name": OWN.own_namespace, "k8s.pod.name": OWN.own_pod}


@pytest.mark.parametrize(
    ("fields", "changes", "own", "rule"),
    [
        (OURS, CONTACT, OWN, "own-contact"),
        (OURS, {"rule": "contact k8s API server from container"}, OWN, "own-contact"),
        (OURS, {}, OWN, "alert"),
        (OURS, {"rule": "Contact K8S API Server From Container 2"}, OWN, "alert"),
        (OURS | {"k8s.ns.name": "shop"}, CONTACT, OWN, "alert"),
        (OURS | {"k8s.pod.name": "zenwatch-6d4cf56db6-fghij"}, CONTACT, OWN, "alert"),
        ({"k8s.ns.name": None, "k8s.pod.name": None}, CONTACT, SelfIdentity(), "alert"),
        ({"k8s.ns.name": "zenwatch", "k8s.pod.name": ""}, CONTACT, SelfIdentity(own_namespace="zenwatch"), "alert"),
    ],
)
def test_only_the_contact_of_our_own_pod_to_the_api_server_is_left_out(
    fields: dict[str, Any], changes: dict[str, Any], own: SelfIdentity, rule: str
) -> None:
    """An attacker inside zenwatch's pod must stay visible."""
    assert judged(an_alert(fields, **changes), own=own).rule == rule


@pytest.mark.parametrize(
    "event", [{}, {"rule": None, "output": 7, "priority": "Notice"}, {"rule": " ", "message": ""}, [], "text", None, 7]
)
def test_an_alert_without_rule_and_output_is_bad_input(event: Any) -> None:
    """It would have an empty key."""
    with pytest.raises(BadInput, match="expected one Falco alert"):
        judged(event)


# ---------------------------------------------------------------- key, severity, title


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("10:00:00.123456789: Notice A  b", "A  b"),
        ("2022-02-15T14:03:12.123639040+0000: Notice A", "A"),
        ("2022-02-15T14:03:12+02:00: Notice A", "A"),
        ("2022-02-15T14:03:12.1Z: Notice A", "A"),
        ("10:00:00.123456789: Warning A", "A"),
        ("10:00:00.123456789: a", "a"),
        ("10:00:00.123456789: NOTICE A", "NOTICE A"),
        ("Notice A", "A"),
        ("Error A", "Error A"),
        ("Notices A", "Notices A"),
        ("10:00:00 Notice A", "10:00:00 Notice A"),
        ("10:00:00.123456789: Notice 10:00:00.123456789: Notice A", "10:00:00.123456789: Notice A"),
        ("Ä" * 60, "Ä" * 60),
    ],
)
def test_the_key_has_neither_time_nor_priority(output: str, text: str) -> None:
    """Otherwise every alert would be a new record. The rest of the output stays as it is."""
    assert found(output=output).key == f"Terminal shell in container/catalog-0/{text[:50]}"


@pytest.mark.parametrize(
    ("fields", "changes", "key"),
    [
        ({"k8s.pod.name": None}, {}, f"Terminal shell in container//{SENTENCE}"),
        ({"k8s.pod.name": "<NA>"}, {}, f"Terminal shell in container//{SENTENCE}"),
        ({"k8s.pod.name": 7}, {}, f"Terminal shell in container//{SENTENCE}"),
        ({}, {"output_fields": None}, f"Terminal shell in container//{SENTENCE}"),
        ({}, {"rule": KeyError}, f"/catalog-0/{SENTENCE}"),
        ({}, {"output": KeyError}, "Terminal shell in container/catalog-0/"),
        ({}, {"output": KeyError, "message": f"{SENTENCE}"}, f"Terminal shell in container/catalog-0/{SENTENCE}"),
        ({}, {"output": KeyError, "message": "Notice this"}, "Terminal shell in container/catalog-0/Notice this"),
        ({}, {"output": "x token=hunter2"}, "Terminal shell in container/catalog-0/x token=[redacted]"),
    ],
)
def test_an_empty_part_of_the_key_keeps_its_slash(fields: dict[str, Any], changes: dict[str, Any], key: str) -> None:
    """Settings such as json_include_output_property remove each of them. Newer versions of Falco can post only the message."""
    finding = found(fields, **{"output": SENTENCE} | changes)

    assert finding.key == key


@pytest.mark.parametrize(
    ("priority", "output", "severity", "kept"),
    [
        ("Emergency", "x", Severity.CRITICAL, "Emergency"),
        ("Alert", "x", Severity.CRITICAL, "Alert"),
        ("Critical", "x", Severity.CRITICAL, "Critical"),
        ("Error", "x", Severity.HIGH, "Error"),
        ("Warning", "x", Severity.MEDIUM, "Warning"),
        ("Notice", "x", Severity.LOW, "Notice"),
        ("Informational", "x", Severity.INFO, "Informational"),
        ("Debug", "x", Severity.INFO, "Debug"),
        ("INFO", "x", Severity.INFO, "INFO"),
        (" error ", "x", Severity.HIGH, "error"),
        ("Dreadful", "10:00:00.1: Notice x", Severity.MEDIUM, "Dreadful"),
        (KeyError, "10:00:00.1: Error x", Severity.HIGH, "Error"),
        (None, "Critical x", Severity.CRITICAL, "Critical"),
        (3, "10:00:00.1: x", Severity.MEDIUM, None),
        (KeyError, "x", Severity.MEDIUM, None),
    ],
)
def test_the_priority_decides_the_severity(priority: Any, output: str, severity: Severity, kept: str | None) -> None:
    """As in docs/severity.md, "Falco". If it is missing, the output may have it. An unknown priority is not harmless."""
    finding = found(priority=priority, output=output)

    assert (finding.severity, finding.details.get("priority")) == (severity, kept)


@pytest.mark.parametrize(
    ("rule", "output", "title"),
    [
        ("R", "10:00:00.1: Notice A shell (user=root x=1)", "R: A shell"),
        ("R", "A shell | evt_type=execve user=root", "R: A shell"),
        ("R", "A shell | proc.aname[2]=x", "R: A shell"),
        ("R", "A shell (in a container) ran\n twice", "R: A shell (in a container) ran twice"),
        ("A shell", "a shell (user=root)", "A shell"),
        ("R", "(user=root)", "R"),
        (KeyError, "(user=root)", "(user=root)"),
        (KeyError, "A shell (user=root)", "A shell"),
        ("R", KeyError, "R"),
        ("R", "x" * 300, "R: " + "x" * 252 + "…"),
    ],
)
def test_the_title_is_the_rule_and_its_sentence(rule: Any, output: Any, title: str) -> None:
    """The fields behind it stand in the details."""
    assert found(rule=rule, output=output).title == title
