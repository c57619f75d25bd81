"""Audit events of the Kubernetes API server: zenwatch stores the requests that matter for security, with one record for each.

The API server posts bodies (EventList and Event of audit.k8s.io). The files of this package, in the order of the flow:

    body.py           from a body to events, and from an event to a request
    json_splitter.py  splits JSON that no decoder accepts, for body.py
    facts.py          what the object in a request shows: a privileged pod, a role that grants everything
    request.py        the request, and the questions that a rule's `when` asks about it
    rules.py          finds the first rule that matches a request
    default_rules.py  the built-in rules
    rules_file.py     the rules of AUDIT_RULES_FILE
    finding.py        from a request to a finding
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from watchers.audit.default_rules import FIRST_RULES, LAST_RULE, RULES
from watchers.audit.finding import FINDING_TYPES, finding_of
from watchers.audit.request import Request, claims
from watchers.audit.rules import Rule, Rules
from zenwatch.sdk import Bytes, PushSettings, PushWatcher, SelfIdentity, Verdict, setting


class AuditSettings(PushSettings):
    """Larger limits than other push watchers have, because the API server posts batches; and a file with the user's rules."""

    buffer_events: int = setting(
        "BUFFER_SIZE",
        "200",
        "a whole number from 1 to 1000000",
        "Events that passed the rules and wait to be stored. When it is full, the API server is asked to send again.",
        ge=1,
        le=1_000_000,
    )
    max_body_bytes: Bytes = setting(
        "MAX_BODY",
        "16Mi",
        "a size such as 512Ki or 16Mi, from 1Ki to 256Mi",
        "The largest body that is taken, after unpacking. A batch of 400 events that carry objects can exceed 10Mi.",
        ge=1024,
        le=256 * 1024 * 1024,
    )
    rules_file: str = setting(
        "RULES_FILE",
        "",
        "the path of a YAML file",
        "Rules that are asked before the built-in ones, or instead of them (examples/pushed/audit-rules.yaml). Read once.",
    )


def decode(body: bytes, media_type: str) -> Iterator[Any]:
    """The events of an EventList, or the single event in the body."""
    # body.py imports msgspec, which costs 3 MB and 18 ms. Only a process that receives audit events pays for it.
    from watchers.audit.body import events_in  # noqa: PLC0415

    yield from events_in(body, is_yaml="yaml" in media_type)


def prepare(settings: AuditSettings, self_identity: SelfIdentity) -> Callable[[Any], Verdict]:
    """Returns the judge. It accepts the events of decode(), and events as mappings, as a file holds them."""
    rules = Rules(rules_for(settings), self_identity)

    def judge(event: Any) -> Verdict:
        request = _request_reader()(event)
        rule = rules.decide(request)
        return Verdict(rule.name, rule.sentence, finding_of(request, rule) if rule.take else None, request.audit_id)

    return judge


def rules_for(settings: AuditSettings) -> tuple[Rule, ...]:
    """All rules in their order. Raises ConfigError if AUDIT_RULES_FILE is wrong."""
    if not settings.rules_file:
        return (*FIRST_RULES, *RULES, LAST_RULE)
    # rules_file.py imports a YAML library. Only a process with such a file needs it.
    from watchers.audit.rules_file import rules_in  # noqa: PLC0415

    replaces, own = rules_in(
        settings.rules_file,
        built_in=[rule.name for rule in RULES],
        reserved=[rule.name for rule in (*FIRST_RULES, LAST_RULE)],
        event_types=list(FINDING_TYPES),
    )
    return (*FIRST_RULES, *own, *(() if replaces else RULES), LAST_RULE)


@cache
def _request_reader() -> Callable[[Any], Request]:
    # Not at the top, for the reason in decode().
    from watchers.audit.body import request_of  # noqa: PLC0415

    return request_of


AUDIT = PushWatcher(
    name="audit",
    path="/audit/webhook",
    # The API server posts JSON. The others are for people who try something out.
    media_types=("application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"),
    decode=decode,
    prepare=prepare,
    settings=AuditSettings,
    sender_retries=True,
    # An act cannot be undone, so a record only ends by its age.
    resolve_after="168h",
    silence_after="1h",
    is_steady=True,
    claims=claims,
)
