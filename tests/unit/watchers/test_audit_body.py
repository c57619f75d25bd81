"""watchers/audit/body.py and json_splitter.py: valid bodies, and what a bad event costs the others."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.audit_events import RBAC, a_body, a_reference, an_event, judged, verdicts
from tests.support.tasks import must_end
from watchers.audit import AUDIT
from watchers.audit.body import MOST_YAML_BYTES
from watchers.audit.json_splitter import members_of
from zenwatch.errors import BadInput

JSON, YAML = "application/json", "application/yaml"
DELETION = an_event("secrets", verb="delete")
TAKEN = ["secret-deletion"]
WHOLE = {"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [DELETION]}
DEEP = b"[" * 10_000 + b"]" * 10_000


def rules_of(body: bytes, media_type: str = JSON) -> list[str]:
    return [verdict.rule for verdict in verdicts(body, media_type)]


def outcomes(body: bytes, media_type: str = JSON) -> Iterator[str]:
    """The rule of each event, or the error."""
    for event in AUDIT.decode(body, media_type):
        try:
            yield judged(event).rule
        except BadInput as exc:
            yield f"bad: {exc}"


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize(
    "document",
    [
        WHOLE,
        WHOLE | {"apiVersion": "audit.k8s.io/v1beta1"},
        WHOLE | {"apiVersion": "audit.k8s.io/v1alpha1", "metadata": None},
        DELETION | {"kind": "Event", "apiVersion": "audit.k8s.io/v1"},
        DELETION | {"kind": "Event", "apiVersion": "audit.k8s.io/v1beta1"},
        DELETION | {"kind": "Event"},
        DELETION | {"apiVersion": "audit.k8s.io/v1"},
        DELETION | {"kind": None, "apiVersion": None},
        DELETION,
    ],
)
@pytest.mark.parametrize("media_type", AUDIT.media_types)
def test_a_body_is_a_list_of_events_or_an_event(document: Any, media_type: str) -> None:
    """v1 and older, JSON and YAML. Log shippers omit the fields that a list has once for all its events."""
    body = json.dumps(document) if media_type == JSON else yaml.safe_dump(document)

    assert rules_of(body.encode(), media_type) == TAKEN


@pytest.mark.parametrize("items", [[], None, ...])
@pytest.mark.parametrize("media_type", [JSON, YAML])
def test_a_list_may_be_empty(items: Any, media_type: str) -> None:
    """Go writes null for an empty list."""
    assert rules_of(a_body(items=items), media_type) == []


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (
            {"kind": "Event", "apiVersion": "v1", "auditID": "a", "stage": "Panic"},
            "kind is 'Event', apiVersion 'v1'; expected an EventList",
        ),
        ({"kind": "EventList", "apiVersion": "v1", "items": []}, "kind is 'EventList', apiVersion 'v1'; expected"),
        ({"kind": "EventList", "apiVersion": "events.k8s.io/v1"}, "apiVersion 'events.k8s.io/v1'; expected"),
        ({"kind": "EventList", "items": []}, "kind is 'EventList', apiVersion missing; expected"),
        ({"kind": "Pod", "apiVersion": "v1"}, "kind is 'Pod', apiVersion 'v1'; expected an EventList of audit.k8s.io"),
        ({}, "kind is missing, apiVersion missing; expected an EventList of audit.k8s.io, or one of its events"),
        ({"auditID": "a"}, "kind is missing, apiVersion missing"),
        ({"kind": "x" * 10_000}, "kind is 'xxx"),
        ([], "expected an EventList"),
        ([DELETION], "expected an EventList"),
        (None, "expected an EventList"),
        ("text", "expected an EventList"),
        (WHOLE | {"items": {}}, "items|array"),
        (WHOLE | {"items": "x"}, "items|array"),
        (WHOLE | {"kind": 7}, "kind"),
    ],
)
@pytest.mark.parametrize("media_type", [JSON, YAML])
def test_a_wrong_body_is_bad_input_and_the_error_states_what_is_expected(document: Any, reason: str, media_type: str) -> None:
    """Before the first event, in a short sentence."""
    with pytest.raises(BadInput, match=reason) as refused:
        next(AUDIT.decode(json.dumps(document).encode(), media_type))

    assert len(str(refused.value)) < 300


def test_several_yaml_documents_are_several_bodies() -> None:
    """kubectl prints such documents."""
    assert rules_of(yaml.safe_dump_all([WHOLE, DELETION]).encode(), YAML) == TAKEN * 2


def test_long_yaml_is_not_read() -> None:
    """A megabyte takes half a second."""
    with pytest.raises(BadInput, match=r"YAML is read up to 1048576, JSON up to AUDIT_MAX_BODY"):
        next(AUDIT.decode(b"#" * (MOST_YAML_BYTES + 1), YAML))


def test_an_error_about_yaml_quotes_no_line_of_it() -> None:
    """Libraries quote the wrong line, and bodies hold secrets."""
    with pytest.raises(BadInput) as refused:
        next(AUDIT.decode(b"a: b\npassword: hunter2: !!int hunter2", YAML))

    assert "hunter2" not in str(refused.value)
    assert "YAML" in str(refused.value)


# ---------------------------------------------------------------- bad events


BROKEN = [
    *(b"null", b"7", b"[]", b'"text"', b"{}", b"nope", b"{1: 2}", DEEP, b'{"verb": ' + DEEP + b"}"),
    *(b'{"auditID": 7}', b'{"auditID": "\xff"}', b'{"auditID": "a", "user": {"username": "\\ud800"}}'),
    b'{"auditID": "a", "stage": "Panic", "responseStatus": {"code": "200"}}',
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: repr(broken[:40]))
def test_an_unreadable_event_costs_only_itself(broken: bytes) -> None:
    """The API server does not post the other events of the batch again."""
    good = json.dumps(DELETION).encode()
    body = b'{"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": [%b, %b , %b]}' % (good, broken, good)

    first, second, third = outcomes(body)

    assert [first, third] == TAKEN * 2
    assert second.startswith("bad: ")
    assert len(second) < 300


@pytest.mark.parametrize(
    "carried", [DEEP, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"a": "\\ud800"}', b'["\\udfff\\u0000"]'], ids=lambda it: repr(it[:12])
)
@pytest.mark.parametrize("field", ["requestObject", "responseObject", "annotations"])
def test_a_patch_that_decoders_refuse_hides_no_event(carried: bytes, field: str) -> None:
    """The API server copies a patch as its author wrote it. The user, the verb and the resource are still known."""
    hiding = json.dumps(an_event(a_reference(f"roles.{RBAC}", "reader"), verb="patch")).encode()
    event = hiding[:-1] + b', "%b": %b}' % (field.encode(), carried)
    body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[%b,%b]}\n' % (event, json.dumps(DELETION).encode())

    found = [verdict.finding for verdict in verdicts(body)]

    assert [finding and finding.details["rule"] for finding in found] == [
        "rbac-change" if field == "annotations" else "role-escalation",
        *TAKEN,
    ]
    assert rules_of(event) == [found[0] and found[0].details["rule"]]


def test_an_unreadable_patch_does_not_hide_a_readable_answer() -> None:
    """Each field is replaced only if it is unreadable itself."""
    role = {"kind": "Role", "rules": [{"verbs": ["escalate"]}]}
    event = json.dumps(an_event(a_reference(f"roles.{RBAC}", "r"), verb="patch", responseObject=role)).encode()

    [verdict] = verdicts(event[:-1] + b', "requestObject": {"x": "\\ud800"}}')

    assert verdict.finding is not None
    assert verdict.finding.details["escalation"] == "grants escalate"


# ---------------------------------------------------------------- hostile bodies


GOOD = a_body(DELETION, DELETION)


HOSTILE = [
    *(b"", b" ", b"\x00", b"\xff", b"\xef\xbb\xbf{", DEEP, b"[" * 10_000, b'{"a":' * 10_000, b'{"items":' + DEEP + b"}"),
    *(GOOD + GOOD, GOOD + b"x", GOOD[:-1] + b', "a": \x00}', GOOD[:-1] + b",}", b'{"kind": "EventList", "kind": [' + b'"' * 1000),
    *(GOOD.replace(b"EventList", b"\xff"), GOOD.replace(b"EventList", b"\\ud800"), b'{"items": [1 2], "a": "\\ud800"}'),
    *(b"{,}", b'{"a" "b"}', b'{"a": }', b'{"a": 1 "b": 2}', b"{'a': 1}"),
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: repr(body[:24]))
def test_hostile_bodies_are_bad_input(body: bytes) -> None:
    """No other exception, and no event before the exception."""
    for media_type in (JSON, YAML):
        # With an extra comma it is still YAML.
        if media_type == YAML and body.endswith(b",}"):
            continue
        with pytest.raises(BadInput):
            next(AUDIT.decode(body, media_type))


def test_a_body_that_is_cut_off_at_any_byte_is_bad_input() -> None:
    """The API server posts the whole body again, so no event may come before the end of the body is known."""
    broken = GOOD.replace(b'"alice"', b'"\\ud800"', 1)
    for body in (GOOD, broken):
        for length in range(len(body)):
            with pytest.raises(BadInput):
                next(AUDIT.decode(body[:length], JSON))


@pytest.mark.parametrize("number", ["9223372036854775808", "-1", "18446744073709551616", "9" * 5000, "1e400", "200.5", "NaN", "true"])
def test_a_number_that_is_no_status_code_is_harmless(number: str) -> None:
    """Such as 2^63: the result is a verdict or bad input."""
    body = a_body(an_event("secrets", code=77)).replace(b"77", number.encode())

    assert [outcome.partition(":")[0] for outcome in outcomes(body)] in (["bad"], ["secret-read"], ["unimportant"])


@pytest.mark.parametrize("text", ["x" * 5_000_000, "ä" * 500_000, "\x00" * 1000, "a/" * 500_000, "*[?" * 100_000])
def test_long_texts_take_linear_time(text: str) -> None:
    """They are in every field of an event that becomes a finding. Quadratic time would be hours."""
    about = dict.fromkeys(("namespace", "name", "apiVersion", "subresource"), text) | {"resource": "secrets"}
    user = {"username": text, "groups": [text]}
    event = an_event(about, verb="delete", user=user, userAgent=text, requestURI=f"/{text}?{text}", auditID=f"a{text}", sourceIPs=[text])
    body = a_body(event)

    with must_end():
        assert rules_of(body) == TAKEN


@pytest.mark.parametrize(
    "event", [{1: 2}, {"auditID": "\ud800", "stage": "Panic"}, {"auditID": 2**70, "stage": "Panic"}, {"auditID": object()}, 7, None, b"{}"]
)
def test_a_value_that_is_no_event_is_bad_input(event: Any) -> None:
    """`zenwatch preview` passes any value of a file."""
    with pytest.raises(BadInput):
        judged(event)


# ---------------------------------------------------------------- json_splitter.py


def test_brackets_in_strings_are_text() -> None:
    """Also after a quotation mark inside a string."""
    text = rb' { "a" : "}]\"{[" , "b\"" : [ { "}" : "]" } , [ ] ] , "items" : [ 1 , {"x":[{}]} , "," ] , "c" : { } } '

    assert members_of(text, list_name=b"items") == (
        {b"a": rb'"}]\"{["', rb"b\"": rb'[ { "}" : "]" } , [ ] ]', b"c": b"{ }"},
        [b"1", b'{"x":[{}]}', b'","'],
    )
    assert members_of(b'{"items":[ ]}', list_name=b"items") == ({}, [])
    assert members_of(b" { } ") == ({}, [])


@pytest.mark.parametrize("piece", [b'{"a":[', b'{"a":"\\"[{"},', b"[],", b'"a":{},', b"[[]"])
def test_splitting_takes_linear_time(piece: bytes) -> None:
    """For deep and flat JSON, and for strings that look like JSON. Quadratic time would be hours."""
    text = b'{"x":[' + piece * (2_000_000 // len(piece))

    with must_end(), pytest.raises(BadInput):
        members_of(text, list_name=b"x")
