"""Kubernetes' audit trail: which of all requests to the API server matter for security, one record each.

In: what kube-apiserver's audit webhook posts (EventList and Event of audit.k8s.io).  Out: verdicts, with findings for what is taken.
Owns: nothing.
Stops: nothing to stop.

What is taken and what is left is data: the tables below. The first rule that matches decides. Besides:

    request.py  a request, and the questions that `when` asks of it
    rules.py    how rules are matched       rules_file.py AUDIT_RULES_FILE
    body.py    what is read of a body      facts.py what is read of a pod, a role or a binding
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from watchers.audit import request
from watchers.audit.finding import FINDING_TYPES, finding_of
from watchers.audit.request import DELETES, STREAMS, WRITES, Request
from watchers.audit.rules import Rule, Rules
from zenwatch.sdk import Bytes, PushSettings, PushWatcher, SelfIdentity, Severity, Verdict, setting

_READS = ("get", "list", "watch")
_CHANGES = (*WRITES, *DELETES)
_SECRETS = ("secrets",)
_RBAC = ("*.rbac.authorization.k8s.io",)
_CLUSTER_ROLES = ("clusterroles.rbac.authorization.k8s.io",)
_DONE = ("1xx", "2xx", "3xx")
_AGGREGATOR = "system:serviceaccount:kube-system:clusterrole-aggregation-controller"


def _leave(name: str, sentence: str, **conditions: tuple[str, ...]) -> Rule:
    return Rule(name, sentence, take=False, event_type="", severity=Severity.INFO, **conditions)


def _take(name: str, severity: Severity, event_type: str, sentence: str, **conditions: tuple[str, ...]) -> Rule:
    """What was refused or failed is an attempt; only a rule that asks for its code takes it."""
    return Rule(name, sentence, take=True, event_type=event_type, severity=severity, **({"codes": _DONE} | conditions))


# Asked before all others, also before those of AUDIT_RULES_FILE.
FIRST_RULES = (
    _leave(
        "not-final-stage",
        "A request is told in up to three stages; only the last one says what came of it.",
        when=("not-final-stage",),
    ),
    _leave("dry-run", "A dry run changes nothing.", verbs=_CHANGES, when=("dry-run",)),
    _leave("own-write", "zenwatch wrote this record itself.", resources=("*.zen.kube-zen.io",), when=("own-write",)),
)

# The worst first, after what is so frequent and so harmless that it is left whatever else it may be.
RULES = (
    _leave(
        "control-plane-read",
        "Reading is the work of the control plane, the nodes and the service accounts of kube-system.",
        verbs=_READS,
        when=("system-component", "not-stream"),
    ),
    _leave(
        "rbac-bootstrap",
        "The API server makes sure that the roles it comes with are there.",
        verbs=_CHANGES,
        resources=_RBAC,
        users=("system:apiserver",),
        when=("system-component",),
    ),
    _leave(
        "lease",
        "A lease is a heartbeat, written every few seconds by each that holds one.",
        resources=("leases.coordination.k8s.io",),
        when=("not-anonymous",),
    ),
    _leave(
        "cluster-event",
        "An Event object tells what happened elsewhere, and is deleted after an hour.",
        resources=("events", "events.events.k8s.io"),
        when=("not-anonymous",),
    ),
    _leave("discovery", "Health, version and what the API server serves are open to everybody.", when=("discovery-path",)),
    # ------------------------------------------------------------ CRITICAL
    _take(
        "system-role-deletion",
        Severity.CRITICAL,
        "resource-deletion",
        "A role or binding that Kubernetes itself relies on was deleted.",
        verbs=DELETES,
        resources=_RBAC,
        when=("system-role",),
    ),
    _take(
        "system-role-change",
        Severity.CRITICAL,
        "rbac-change",
        "A role or binding that Kubernetes itself relies on was changed: a quiet way to give rights to everybody.",
        verbs=WRITES,
        resources=_RBAC,
        when=("system-role",),
    ),
    _take(
        "secrets-of-all-namespaces",
        Severity.CRITICAL,
        "secret-access",
        "Somebody who is not the control plane read every secret of the cluster at once.",
        verbs=("list", "watch"),
        resources=_SECRETS,
        when=("all-namespaces", "not-system-component"),
    ),
    # ------------------------------------------------------------ HIGH, and what would else be taken for it
    _take(
        "cluster-admin-binding",
        Severity.HIGH,
        "rbac-change",
        "Somebody was given the role cluster-admin: all rights there are, in the cluster or a namespace.",
        verbs=WRITES,
        resources=_RBAC,
        when=("cluster-admin-binding",),
    ),
    _take(
        "role-aggregation",
        Severity.LOW,
        "rbac-change",
        "The control plane united cluster roles; whoever wrote one of them has a record of that.",
        verbs=WRITES,
        resources=_CLUSTER_ROLES,
        users=(_AGGREGATOR,),
        when=("system-component",),
    ),
    _take(
        "role-escalation",
        Severity.HIGH,
        "rbac-change",
        "A role grants everything, a way into pods, or the right to grant oneself more.",
        verbs=WRITES,
        resources=_RBAC,
        when=("escalation",),
    ),
    _take(
        "privileged-pod",
        Severity.HIGH,
        "privileged-pod-creation",
        "A pod was created with a privileged container: root there is root on the node.",
        verbs=("create",),
        resources=("pods",),
        subresources=("",),
        when=("privileged-pod",),
    ),
    _take(
        "host-namespace-pod",
        Severity.HIGH,
        "privileged-pod-creation",
        "A pod was created that shares its node's network, processes or IPC: it sees what runs beside it.",
        verbs=("create",),
        resources=("pods",),
        subresources=("",),
        when=("host-namespace-pod",),
    ),
    _take(
        "privileged-ephemeral-container",
        Severity.HIGH,
        "privileged-pod-creation",
        "A privileged container was added to a running pod: root there is root on the node.",
        verbs=WRITES,
        resources=("pods",),
        subresources=("ephemeralcontainers",),
        when=("privileged-pod",),
    ),
    # ------------------------------------------------------------ MEDIUM
    _take(
        "pod-stream",
        Severity.MEDIUM,
        "pod-exec",
        "Somebody went into a running pod: a command, a terminal or a forwarded port.",
        resources=("pods",),
        subresources=STREAMS,
    ),
    _take(
        "ephemeral-container",
        Severity.MEDIUM,
        "pod-exec",
        "Somebody put a container of their own into a running pod.",
        verbs=WRITES,
        resources=("pods",),
        subresources=("ephemeralcontainers",),
    ),
    _take(
        "access-denied",
        Severity.MEDIUM,
        "access-denied",
        "Somebody was refused access to secrets or RBAC: a mistake, or a search for what is open.",
        resources=(*_SECRETS, *_RBAC),
        codes=("401", "403"),
    ),
    _take(
        "anonymous-deletion",
        Severity.MEDIUM,
        "resource-deletion",
        "Somebody deleted something without saying who they are.",
        verbs=DELETES,
        resources=("*",),
        subresources=("",),
        when=("anonymous",),
    ),
    _take(
        "anonymous-access",
        Severity.MEDIUM,
        "anonymous-access",
        "A request succeeded without saying whose it is, and not for what is open to everybody.",
        when=("anonymous",),
    ),
    _take(
        "token-for-another",
        Severity.MEDIUM,
        "secret-access",
        "Somebody made a token with which to act as a service account that is not their own.",
        verbs=("create",),
        resources=("serviceaccounts",),
        subresources=("token",),
        when=("token-for-another",),
    ),
    # ------------------------------------------------------------ LOW
    _take("secret-deletion", Severity.LOW, "resource-deletion", "A secret was deleted.", verbs=DELETES, resources=_SECRETS),
    _take("rbac-deletion", Severity.LOW, "resource-deletion", "A role or binding was deleted.", verbs=DELETES, resources=_RBAC),
    _take("secret-write", Severity.LOW, "secret-access", "A secret was written.", verbs=WRITES, resources=_SECRETS),
    _take(
        "secret-read",
        Severity.LOW,
        "secret-access",
        "Somebody who is not the control plane read a secret.",
        verbs=_READS,
        resources=_SECRETS,
        when=("not-system-component",),
    ),
    _take(
        "rbac-change",
        Severity.LOW,
        "rbac-change",
        "A role or binding was written; where bodies are not audited, what it grants cannot be seen.",
        verbs=WRITES,
        resources=_RBAC,
    ),
    # ------------------------------------------------------------ INFO
    _take(
        "deletion",
        Severity.INFO,
        "resource-deletion",
        "Something was deleted. A DELETE that is passed on to a pod or a service deletes nothing here.",
        verbs=DELETES,
        resources=("*",),
        subresources=("",),
    ),
)

# Asked after all others.
LAST_RULE = _leave("unimportant", "No rule takes it.")


class AuditSettings(PushSettings):
    """Batches are larger than single alerts, and the rules are the user's to change."""

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
    """The events of an EventList, or the one event that the body is."""
    # msgspec takes 3 MB and 18 ms, which only a cluster that posts audit events should pay.
    from watchers.audit.body import events_in  # noqa: PLC0415

    yield from events_in(body, is_yaml="yaml" in media_type)


def prepare(settings: AuditSettings, self_identity: SelfIdentity) -> Callable[[Any], Verdict]:
    """The judge. It takes what decode() told, and events as mappings, as a file holds them."""
    asked = rules_for(settings)
    rules = Rules(asked, self_identity)

    def judge(event: Any) -> Verdict:
        request = _reader()(event)
        rule = rules.decide(request)
        return Verdict(rule.name, rule.sentence, finding_of(request, rule) if rule.take else None, request.audit_id)

    return judge


def rules_for(settings: AuditSettings) -> tuple[Rule, ...]:
    """In the order in which they are asked. Raises ConfigError."""
    if not settings.rules_file:
        return (*FIRST_RULES, *RULES, LAST_RULE)
    # Reads YAML, which nobody needs who has no such file.
    from watchers.audit.rules_file import rules_in  # noqa: PLC0415

    replaces, own = rules_in(
        settings.rules_file,
        built_in=[rule.name for rule in RULES],
        reserved=[rule.name for rule in (*FIRST_RULES, LAST_RULE)],
        event_types=list(FINDING_TYPES),
    )
    return (*FIRST_RULES, *own, *(() if replaces else RULES), LAST_RULE)


@cache
def _reader() -> Callable[[Any], Request]:
    # See decode().
    from watchers.audit.body import request_of  # noqa: PLC0415

    return request_of


AUDIT = PushWatcher(
    name="audit",
    path="/audit/webhook",
    # The API server posts JSON; the others are for people who try something out.
    media_types=("application/json", "application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"),
    decode=decode,
    prepare=prepare,
    settings=AuditSettings,
    sender_retries=True,
    # What was done stays done: its record is resolved when it has had its time (EVENT_TTL).
    resolve_after="168h",
    silence_after="1h",
    is_steady=True,
    claims=request.claims,
)
