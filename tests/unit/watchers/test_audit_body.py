"""watchers/audit/body.py and json_splitter.py: what is a body, and what one bad event costs the others."""

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
    """The rule of each event, or what is wrong with it."""
    for event in AUDIT.decode(body, media_type):
        try:
            yield judged(event).rule
        except BadInput as exc:
            yield f"bad: {exc}"


# ---------------------------------------------------------------- what is a body


@pytest.mark.parametrize(
    "said",
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
def test_a_list_of_events_or_one_event(said: Any, media_type: str) -> None:
    """v1 and older, JSON and YAML; log shippers leave out what a list says once."""
    body = json.dumps(said) if media_type == JSON else yaml.safe_dump(said)

    assert rules_of(body.encode(), media_type) == TAKEN


@pytest.mark.parametrize("items", [[], None, ...])
@pytest.mark.parametrize("media_type", [JSON, YAML])
def test_a_list_may_be_empty(items: Any, media_type: str) -> None:
    """Go writes null for it."""
    assert rules_of(a_body(items=items), media_type) == []


@pytest.mark.parametrize(
    ("said", "reason"),
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
def test_what_is_none_is_told_what_is_expected(said: Any, reason: str, media_type: str) -> None:
    """Before the first event, in a sentence that is not as long as the body."""
    with pytest.raises(BadInput, match=reason) as refused:
        next(AUDIT.decode(json.dumps(said).encode(), media_type))

    assert len(str(refused.value)) < 300


def test_several_documents_of_yaml_are_several_bodies() -> None:
    """As kubectl prints them."""
    assert rules_of(yaml.safe_dump_all([WHOLE, DELETION]).encode(), YAML) == TAKEN * 2


def test_long_yaml_is_not_read() -> None:
    """It takes half a second a megabyte."""
    with pytest.raises(BadInput, match=r"YAML is read up to 1048576, JSON up to AUDIT_MAX_BODY"):
        next(AUDIT.decode(b"#" * (MOST_YAML_BYTES + 1), YAML))


def test_what_is_wrong_with_yaml_is_told_without_a_line_of_it() -> None:
    """Libraries quote what they stumble over, and bodies carry secrets."""
    with pytest.raises(BadInput) as refused:
        next(AUDIT.decode(b"a: b\npassword: hunter2: !!int hunter2", YAML))

    assert "hunter2" not in str(refused.value)
    assert "YAML" in str(refused.value)


# ---------------------------------------------------------------- what an event costs the others


BROKEN = [
    *(b"null", b"7", b"[]", b'"text"', b"{}", b"nope", b"{1: 2}", DEEP, b'{"verb": ' + DEEP + b"}"),
    *(b'{"auditID": 7}', b'{"auditID": "\xff"}', b'{"auditID": "a", "user": {"username": "\\ud800"}}'),
    b'{"auditID": "a", "stage": "Panic", "responseStatus": {"code": "200"}}',
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: repr(broken[:40]))
def test_an_event_that_cannot_be_read_costs_only_itself(broken: bytes) -> None:
    """The others of the batch are not sent again."""
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
def test_nobody_hides_behind_a_patch_that_decoders_refuse(carried: bytes, field: str) -> None:
    """The API server passes patches on as they were written. Who did what to what is known all the same."""
    hiding = json.dumps(an_event(a_reference(f"roles.{RBAC}", "reader"), verb="patch")).encode()
    event = hiding[:-1] + b', "%b": %b}' % (field.encode(), carried)
    body = b'{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[%b,%b]}\n' % (event, json.dumps(DELETION).encode())

    found = [verdict.finding for verdict in verdicts(body)]

    assert [finding and finding.details["rule"] for finding in found] == [
        "rbac-change" if field == "annotations" else "role-escalation",
        *TAKEN,
    ]
    assert rules_of(event) == [found[0] and found[0].details["rule"]]


def test_what_is_left_of_an_event_is_not_less_than_what_could_be_read() -> None:
    """A patch that cannot be read, and an answer that can."""
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
    """No other exception, and no event before it."""
    for media_type in (JSON, YAML):
        # With one comma too many it still is YAML.
        if media_type == YAML and body.endswith(b",}"):
            continue
        with pytest.raises(BadInput):
            next(AUDIT.decode(body, media_type))


def test_a_body_that_breaks_off_is_bad_input_wherever_it_does() -> None:
    """Half a body is sent again as a whole: nothing of it may be taken before the end was seen."""
    broken = GOOD.replace(b'"alice"', b'"\\ud800"', 1)
    for body in (GOOD, broken):
        for length in range(len(body)):
            with pytest.raises(BadInput):
                next(AUDIT.decode(body[:length], JSON))


@pytest.mark.parametrize("number", ["9223372036854775808", "-1", "18446744073709551616", "9" * 5000, "1e400", "200.5", "NaN", "true"])
def test_numbers_that_are_no_status_codes(number: str) -> None:
    """2^63 and the like: a verdict or bad input."""
    body = a_body(an_event("secrets", code=77)).replace(b"77", number.encode())

    assert [outcome.partition(":")[0] for outcome in outcomes(body)] in (["bad"], ["secret-read"], ["unimportant"])


@pytest.mark.parametrize("text", ["x" * 5_000_000, "ä" * 500_000, "\x00" * 1000, "a/" * 500_000, "*[?" * 100_000])
def test_the_time_for_long_texts_grows_with_their_length_and_no_faster(text: str) -> None:
    """They are everywhere at once, in an event that becomes a finding; with the square of their length, this would take hours."""
    about = dict.fromkeys(("namespace", "name", "apiVersion", "subresource"), text) | {"resource": "secrets"}
    user = {"username": text, "groups": [text]}
    event = an_event(about, verb="delete", user=user, userAgent=text, requestURI=f"/{text}?{text}", auditID=f"a{text}", sourceIPs=[text])
    body = a_body(event)

    with must_end():
        assert rules_of(body) == TAKEN


@pytest.mark.parametrize(
    "event", [{1: 2}, {"auditID": "\ud800", "stage": "Panic"}, {"auditID": 2**70, "stage": "Panic"}, {"auditID": object()}, 7, None, b"{}"]
)
def test_what_is_handed_over_as_an_event_and_is_none(event: Any) -> None:
    """`zenwatch preview` reads files in its own way."""
    with pytest.raises(BadInput):
        judged(event)


# ---------------------------------------------------------------- pieces


def test_brackets_in_strings_are_text() -> None:
    """Also after a quotation mark that a string holds."""
    text = rb' { "a" : "}]\"{[" , "b\"" : [ { "}" : "]" } , [ ] ] , "items" : [ 1 , {"x":[{}]} , "," ] , "c" : { } } '

    assert members_of(text, list_name=b"items") == (
        {b"a": rb'"}]\"{["', rb"b\"": rb'[ { "}" : "]" } , [ ] ]', b"c": b"{ }"},
        [b"1", b'{"x":[{}]}', b'","'],
    )
    assert members_of(b'{"items":[ ]}', list_name=b"items") == ({}, [])
    assert members_of(b" { } ") == ({}, [])


@pytest.mark.parametrize("piece", [b'{"a":[', b'{"a":"\\"[{"},', b"[],", b'"a":{},', b"[[]"])
def test_the_time_to_split_a_text_grows_with_its_length_and_no_faster(piece: bytes) -> None:
    """Deep, flat, and with strings that look like structure; with the square of its length, this would take hours."""
    text = b'{"x":[' + piece * (2_000_000 // len(piece))

    with must_end(), pytest.raises(BadInput):
        members_of(text, list_name=b"x")
