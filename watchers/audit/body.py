"""Read what the API server posts: its batches, their events, and of the objects in them only what rules ask for.

Audit events carry Secrets. What no class names is passed over and never becomes a Python object; the objects in requests are read
for pods, roles and bindings only (_audit_facts.py), and of a deletion's options whether it is a dry run.

Import this with the first event only: msgspec takes 3 MB and 18 ms, which only a cluster that posts audit events should pay.

In: bodies, then single events of them.  Out: events, then requests.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import orjson

from watchers.audit import pieces
from watchers.audit.facts import ABSENT, UNREADABLE, facts_of
from watchers.audit.request import DELETES, WRITES, Request, is_event, is_event_list
from zenwatch.sdk import BadInput, first_line, input_files

# YAML is read at 2 MB a second; JSON takes what MAX_BODY allows.
MOST_YAML_BYTES = 1024 * 1024
_FINAL_STAGES = ("ResponseComplete", "Panic")
_EXPECTED = "expected an EventList of audit.k8s.io, or one of its events"


class Envelope(msgspec.Struct, rename="camel"):
    """A body, as far as it has to be known to take it apart. A null is as good as nothing: Go writes it so."""

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
    """An event of audit.k8s.io/v1 or an older version. Its annotations may carry anything and are not read."""

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
    # msgspec has no optional Raw: where there is none it is empty, and a null is kept as it is written.
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
_SAID_OF_BODY = (b"kind", b"apiVersion", b"auditID", b"stage")
# Where an event holds what others wrote; and what stands there instead where that cannot be decoded: no object, and so no dry run.
_CARRIED = frozenset({b"requestObject", b"responseObject", b"annotations"})
_UNREADABLE_TEXT = b'"unreadable"'

# ---------------------------------------------------------------- bodies


def events_in(body: bytes, *, is_yaml: bool) -> Iterator[Any]:
    """The events as they stand there: request_of() takes them. BadInput before the first one."""
    yield from _events_in_yaml(body) if is_yaml else _events_in_json(body)


def _events_in_json(body: bytes) -> Iterator[msgspec.Raw]:
    try:
        envelope = _ENVELOPE.decode(body)
    except msgspec.ValidationError as exc:
        raise BadInput(f"{first_line(exc)}; {_EXPECTED}") from exc
    except UNREADABLE as exc:
        envelope = _pieced_together(body, exc)
    if is_event_list(envelope.kind, envelope.api_version):
        yield from envelope.items or ()
    elif is_event(envelope.kind, envelope.api_version, has_ids=bool(envelope.audit_id and envelope.stage)):
        yield msgspec.Raw(body)
    else:
        raise _not_ours(envelope.kind, envelope.api_version)


def _pieced_together(body: bytes, reason: Exception) -> Envelope:
    """The envelope of a body with something in it that cannot be decoded; that something may be one of many events."""
    try:
        members, entries = pieces.members_of(body, list_name=b"items")
        known = [b'"%b":%b' % (name, members[name]) for name in _SAID_OF_BODY if name in members]
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
        # What it says may quote a line of the body.
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


def _quoted(said: Any) -> str:
    return "missing" if said is None else repr(said)[:80]


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else first_line(error)


# ---------------------------------------------------------------- events


def request_of(event: Any) -> Request:
    """event: one that events_in() told, or the same as a mapping. BadInput: it is none."""
    said = event if isinstance(event, Event) else _decoded(event)
    audit_id, stage = (said.audit_id or "").strip(), said.stage
    if not audit_id or not stage:
        raise BadInput(f"{'stage' if audit_id else 'auditID'} is missing: no event of audit.k8s.io")
    user, acts_as, about = said.user or _NOBODY, said.impersonated_user, said.object_ref or _NOTHING
    actor = acts_as or user
    path, _, query = (said.request_uri or "").partition("?")
    verb, resource, api_group = said.verb or "", about.resource or "", about.api_group or ""
    request = Request(
        audit_id=audit_id,
        stage=stage,
        verb=verb,
        path=path,
        query=query,
        user=actor.username or "",
        groups=actor.groups or (),
        # Named even where nobody knows who it was: what is done in another's name is never that other's own.
        impersonator="" if acts_as is None else user.username or "unknown",
        user_agent=said.user_agent or "",
        source_ips=said.source_ips or (),
        resource=resource,
        api_group=api_group,
        api_version=about.api_version or "",
        namespace=about.namespace or "",
        name=about.name or "",
        subresource=about.subresource or "",
        code=said.response_status.code if said.response_status is not None else None,
        moment=said.request_received_timestamp or said.stage_timestamp or said.timestamp or "",
    )
    if stage in _FINAL_STAGES:
        _look_into_objects(said, request)
    return request


def _look_into_objects(event: Event, request: Request) -> None:
    if request.verb in DELETES:
        request.dry_run_options = _is_dry_run(bytes(event.request_object))
    elif request.verb in WRITES:
        request.facts = facts_of(request, said=event.request_object, answered=event.response_object)


def _is_dry_run(options: bytes) -> bool | None:
    """kubectl says it in the options that it sends along, and where there are some, the API server does not look at the URI."""
    if options in ABSENT:
        return None
    try:
        return "All" in (_DELETE_OPTIONS.decode(options).dry_run or ())
    except UNREADABLE:
        return False


def _decoded(event: Any) -> Event:
    if isinstance(event, Mapping):
        try:
            event = orjson.dumps(dict(event))
        except TypeError as exc:
            raise BadInput(f"the event cannot be written as JSON: {first_line(exc)}") from exc
    elif not isinstance(event, msgspec.Raw):
        raise BadInput("the event is no object")
    try:
        return _EVENT.decode(event)
    except msgspec.ValidationError as exc:
        raise BadInput(f"no event of audit.k8s.io: {first_line(exc)}") from exc
    except UNREADABLE as exc:
        return _without_objects(bytes(event), exc)


def _without_objects(text: bytes, reason: Exception) -> Event:
    """An event that carries something that cannot be decoded: who did what to what is known all the same."""
    try:
        members, _ = pieces.members_of(text)
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
