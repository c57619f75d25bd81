"""Read the bodies that the API server posts: from a body to events, and from an event to a request.

Audit events carry Secrets. The decoder skips every field that no class here names, so it never becomes a Python object. facts.py reads the
objects of pods, roles and bindings; this file reads only from a deletion's options whether the deletion is a dry run (decision 7).

Import this file only with the first event: msgspec costs 3 MB and 18 ms.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from watchers.audit.facts import ABSENT, UNREADABLE, facts_of
from watchers.audit.json_splitter import members_of
from watchers.audit.request import DELETES, WRITES, Request, is_event, is_event_list
from zenwatch.sdk import BadInput, first_line, input_files

# The YAML reader reads 2 MB per second. For JSON, MAX_BODY is the only limit.
MOST_YAML_BYTES = 1024 * 1024
_FINAL_STAGES = ("ResponseComplete", "Panic")
_EXPECTED = "expected an EventList of audit.k8s.io, or one of its events"


class Envelope(msgspec.Struct, rename="camel"):
    """The outer fields of a body, with its events undecoded. Go writes null for an absent field."""

    kind: str | None = None
    api_version: str | None = None
    items: list[msgspec.Raw] | None = None
    audit_id: str | None = msgspec.field(default=None, name="auditID")
    stage: str | None = None


class _User(msgspec.Struct):
    username: str | None = None
    groups: list[str] | None = None


class _ObjectRef(msgspec.Struct, rename="camel"):
    resource: str | None = None
    namespace: str | None = None
    name: str | None = None
    api_group: str | None = None
    api_version: str | None = None
    subresource: str | None = None


class _Status(msgspec.Struct):
    code: int | None = None


class Event(msgspec.Struct, rename="camel"):
    """An event of audit.k8s.io/v1 or an older version, without its annotations, which may hold anything."""

    audit_id: str | None = msgspec.field(default=None, name="auditID")
    stage: str | None = None
    verb: str | None = None
    request_uri: str | None = msgspec.field(default=None, name="requestURI")
    user: _User | None = None
    impersonated_user: _User | None = None
    user_agent: str | None = None
    source_ips: list[str] | None = msgspec.field(default=None, name="sourceIPs")
    object_ref: _ObjectRef | None = None
    response_status: _Status | None = None
    # msgspec has no optional Raw: an absent field is empty bytes, and a null is the bytes null.
    request_object: msgspec.Raw = msgspec.Raw()
    response_object: msgspec.Raw = msgspec.Raw()
    request_received_timestamp: str | None = None
    stage_timestamp: str | None = None
    timestamp: str | None = None


class _DeleteOptions(msgspec.Struct, rename="camel"):
    dry_run: list[str] | None = None


_NOBODY = _User()
_NOTHING = _ObjectRef()
_ENVELOPE = msgspec.json.Decoder(Envelope)
_EVENT = msgspec.json.Decoder(Event)
_DELETE_OPTIONS = msgspec.json.Decoder(_DeleteOptions)
_ANYTHING = msgspec.json.Decoder(msgspec.Raw)
_FIELDS_OF_BODY = (b"kind", b"apiVersion", b"auditID", b"stage")
# The fields that hold JSON of other authors, and the text that replaces undecodable JSON: a text is no object, and so no dry run.
_CARRIED = frozenset({b"requestObject", b"responseObject", b"annotations"})
_UNREADABLE_TEXT = b'"unreadable"'

# ---------------------------------------------------------------- bodies


def events_in(body: bytes, *, is_yaml: bool) -> Iterator[Any]:
    """The undecoded events, for request_of(). Raises BadInput before the first one."""
    yield from _events_in_yaml(body) if is_yaml else _events_in_json(body)


def _events_in_json(body: bytes) -> Iterator[msgspec.Raw]:
    try:
        envelope = _ENVELOPE.decode(body)
    except msgspec.ValidationError as exc:
        raise BadInput(f"{first_line(exc)}; {_EXPECTED}") from exc
    except UNREADABLE as exc:
        envelope = _envelope_of_parts(body, exc)
    if is_event_list(envelope.kind, envelope.api_version):
        yield from envelope.items or ()
    elif is_event(envelope.kind, envelope.api_version, has_ids=bool(envelope.audit_id and envelope.stage)):
        yield msgspec.Raw(body)
    else:
        raise _not_ours(envelope.kind, envelope.api_version)


def _envelope_of_parts(body: bytes, reason: Exception) -> Envelope:
    """The envelope of a body with undecodable JSON in it, which may be in only one of many events."""
    try:
        members, entries = members_of(body, list_name=b"items")
        known = [b'"%b":%b' % (name, members[name]) for name in _FIELDS_OF_BODY if name in members]
        envelope = _ENVELOPE.decode(b"{%b}" % b",".join(known))
    except (BadInput, *UNREADABLE):
        raise BadInput(f"{_reason(reason)}; {_EXPECTED}") from reason
    envelope.items = [msgspec.Raw(entry) for entry in entries]
    return envelope


def _events_in_yaml(body: bytes) -> Iterator[Mapping[str, Any]]:
    if len(body) > MOST_YAML_BYTES:
        raise BadInput(f"the body has {len(body)} bytes; YAML is read up to {MOST_YAML_BYTES}, JSON up to AUDIT_MAX_BODY")
    documents, failure = input_files.read(input_files.text_of(body))
    if failure is not None:
        # Without the reader's message, which may quote a line of the body.
        raise BadInput(f"the body is not YAML that can be read; {_EXPECTED}")
    for document in documents:
        if not isinstance(document, dict):
            raise BadInput(f"a document of the body is no object; {_EXPECTED}")
        kind, api_version = document.get("kind"), document.get("apiVersion")
        if is_event_list(kind, api_version):
            if not isinstance(document.get("items"), list | None):
                raise BadInput("items is not a list")
        elif not is_event(kind, api_version, has_ids=bool(document.get("auditID") and document.get("stage"))):
            raise _not_ours(kind, api_version)
    for document in documents:
        yield from (document.get("items") or ()) if document.get("kind") == "EventList" else (document,)


def _not_ours(kind: Any, api_version: Any) -> BadInput:
    return BadInput(f"kind is {_quoted(kind)}, apiVersion {_quoted(api_version)}; {_EXPECTED}")


def _quoted(value: Any) -> str:
    return "missing" if value is None else repr(value)[:80]


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else first_line(error)


# ---------------------------------------------------------------- events


def request_of(raw: Any) -> Request:
    """event: from events_in(), or a mapping. Raises BadInput if it is no audit event."""
    event = _decoded(raw)
    audit_id, stage = (event.audit_id or "").strip(), event.stage
    if not audit_id or not stage:
        raise BadInput(f"{'stage' if audit_id else 'auditID'} is missing: no event of audit.k8s.io")
    user, acts_as, reference = event.user or _NOBODY, event.impersonated_user, event.object_ref or _NOTHING
    actor = acts_as or user
    path, _, query = (event.request_uri or "").partition("?")
    verb, resource, api_group = event.verb or "", reference.resource or "", reference.api_group or ""
    request = Request(
        audit_id=audit_id,
        stage=stage,
        verb=verb,
        path=path,
        query=query,
        user=actor.username or "",
        groups=actor.groups or (),
        # Never empty for an impersonated request, even if its real author is unknown: rules must not count it as the user's own.
        impersonator="" if acts_as is None else user.username or "unknown",
        user_agent=event.user_agent or "",
        source_ips=event.source_ips or (),
        resource=resource,
        api_group=api_group,
        api_version=reference.api_version or "",
        namespace=reference.namespace or "",
        name=reference.name or "",
        subresource=reference.subresource or "",
        code=event.response_status.code if event.response_status is not None else None,
        moment=event.request_received_timestamp or event.stage_timestamp or event.timestamp or "",
    )
    if stage in _FINAL_STAGES:
        _read_objects(event, request)
    return request


def _read_objects(event: Event, request: Request) -> None:
    if request.verb in DELETES:
        request.dry_run_options = _is_dry_run(bytes(event.request_object))
    elif request.verb in WRITES:
        request.facts = facts_of(request, sent=event.request_object, answered=event.response_object)


def _is_dry_run(options: bytes) -> bool | None:
    """Whether the options of a deletion ask for a dry run. If a deletion has options, the API server ignores dryRun in its URI."""
    if options in ABSENT:
        return None
    try:
        return "All" in (_DELETE_OPTIONS.decode(options).dry_run or ())
    except UNREADABLE:
        return False


def _decoded(raw: Any) -> Event:
    if isinstance(raw, Mapping):
        try:
            raw = orjson.dumps(dict(raw))
        except TypeError as exc:
            raise BadInput(f"the event cannot be written as JSON: {first_line(exc)}") from exc
    elif not isinstance(raw, msgspec.Raw):
        raise BadInput("the event is no object")
    try:
        return _EVENT.decode(raw)
    except msgspec.ValidationError as exc:
        raise BadInput(f"no event of audit.k8s.io: {first_line(exc)}") from exc
    except UNREADABLE as exc:
        return _without_objects(bytes(raw), exc)


def _without_objects(text: bytes, reason: Exception) -> Event:
    """An event with undecodable JSON in one of the fields _CARRIED. The user, the verb and the resource are still known."""
    try:
        members, _ = members_of(text)
        for name in _CARRIED & members.keys():
            members[name] = members[name] if _is_readable(members[name]) else _UNREADABLE_TEXT
        return _EVENT.decode(b"{%b}" % b",".join(b'"%b":%b' % member for member in members.items()))
    except (BadInput, *UNREADABLE):
        raise BadInput(f"no event of audit.k8s.io: {_reason(reason)}") from reason


def _is_readable(text: bytes) -> bool:
    try:
        _ANYTHING.decode(text)
    except UNREADABLE:
        return False
    return True
