"""A request to the API server, and the questions that a rule's `when` can ask about it."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from zenwatch.sdk import SelfIdentity

GROUP = "audit.k8s.io/"
PANIC = "Panic"
WRITES = ("create", "update", "patch")
DELETES = ("delete", "deletecollection")
# Subresources that open a connection to a pod. kubectl uses GET since 1.31, so the verb does not show it.
STREAMS = ("exec", "attach", "portforward")
# The API server ignores dryRun for these subresources.
_NEVER_DRY = frozenset({*STREAMS, "proxy", "token"})
_CHANGES = frozenset({*WRITES, *DELETES})
_COMPONENTS = frozenset({"system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"})
_ANONYMOUS = "system:anonymous"
_UNAUTHENTICATED = "system:unauthenticated"
# The paths that are open to everybody by default: health, version, and the list of served kinds.
_DISCOVERY = re.compile(
    r"/(?:(?:healthz|livez|readyz)(?:/.*)?|version/?|api(?:/v1)?/?|apis(?:/[^/]+){0,2}/?|openapi.*|\.well-known/.*|openid/.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the object in a request shows. The texts complete a title; an empty text means no."""

    # The object's name, for a request without one: the API server then makes the name.
    name: str = ""
    # Of a pod: its privileged containers, and the namespaces of the host that it shares.
    privileged: str = ""
    host_namespaces: str = ""
    # Of a role or a binding: the rights that let a user gain more rights.
    grants: str = ""
    binds_cluster_admin: bool = False


NO_FACTS = Facts()


@dataclass(slots=True)
class Request:
    """A stage of a request. body.py fills it, then nobody changes it. Not frozen, because that would cost time for each event."""

    audit_id: str
    stage: str
    verb: str = ""
    path: str = ""
    query: str = ""
    # The impersonated user if there is one. impersonator is then the user who sent the request.
    user: str = ""
    groups: Sequence[str] = ()
    impersonator: str = ""
    user_agent: str = ""
    source_ips: Sequence[str] = ()
    resource: str = ""
    api_group: str = ""
    api_version: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    # None if the API server gave no code.
    code: int | None = None
    moment: str = ""
    # Whether the options of a deletion ask for a dry run. None if the event holds no options.
    dry_run_options: bool | None = None
    facts: Facts = field(default=NO_FACTS)

    @property
    def object_name(self) -> str:
        return self.name or self.facts.name

    @property
    def has_panicked(self) -> bool:
        return self.stage == PANIC

    @property
    def is_impersonated(self) -> bool:
        return bool(self.impersonator)

    @property
    def effective_code(self) -> int:
        """The code that rules compare. A missing code counts as a success, and so does a panic: its code is 500 even after a write."""
        return 200 if self.code is None or self.has_panicked else self.code


# ---------------------------------------------------------------- what is an event


def is_event_list(kind: Any, api_version: Any) -> bool:
    return kind == "EventList" and isinstance(api_version, str) and api_version.startswith(GROUP)


def is_event(kind: Any, api_version: Any, *, has_ids: bool) -> bool:
    """has_ids: it has auditID and stage, which no other Event has. Log shippers omit the apiVersion, and some the kind."""
    if kind not in (None, "Event"):
        return False
    return api_version.startswith(GROUP) if isinstance(api_version, str) and api_version else has_ids


def claims(document: Any) -> bool:
    """Whether it is an EventList of audit.k8s.io, or an event of audit.k8s.io."""
    if not isinstance(document, Mapping):
        return False
    kind, api_version = document.get("kind"), document.get("apiVersion")
    return is_event_list(kind, api_version) or is_event(kind, api_version, has_ids="auditID" in document and "stage" in document)


# ---------------------------------------------------------------- questions

Question = Callable[[Request, SelfIdentity], bool]


def _is_final(request: Request, _: SelfIdentity) -> bool:
    stage = request.stage
    if stage in ("ResponseComplete", PANIC):
        return True
    # A stream has no other event while it lasts, and a request without authentication ends at this stage.
    return stage == "ResponseStarted" and request.code in (101, 401)


def _is_dry_run(request: Request, _: SelfIdentity) -> bool:
    """Only if the API server obeys dryRun for this request: ?dryRun=All must not hide an exec or a read."""
    if request.verb not in _CHANGES or request.subresource in _NEVER_DRY:
        return False
    if request.dry_run_options is not None:
        return request.dry_run_options
    return "dryRun" in request.query and any(
        name == "dryRun" and unquote_plus(value) == "All" for name, _, value in (part.partition("=") for part in request.query.split("&"))
    )


def _is_own(request: Request, self_identity: SelfIdentity) -> bool:
    if request.is_impersonated:
        return False
    own = self_identity.own_account()
    if own:
        return request.user == own
    return request.user_agent == "zenwatch" or request.user_agent.startswith("zenwatch/")


def _is_component(request: Request, _: SelfIdentity) -> bool:
    """The control plane, the nodes, and the service accounts of kube-system; not a user who impersonates them."""
    user = request.user
    if not user.startswith("system:") or request.is_impersonated:
        return False
    if user in _COMPONENTS or user.startswith("system:serviceaccount:kube-system:"):
        return True
    return user.startswith("system:node:") and (not request.groups or "system:nodes" in request.groups)


def _is_anonymous(request: Request, _: SelfIdentity) -> bool:
    if request.is_impersonated:
        return False
    return request.user == _ANONYMOUS or (not request.user and _UNAUTHENTICATED in request.groups)


def _is_discovery(request: Request, _: SelfIdentity) -> bool:
    return not request.resource and _DISCOVERY.fullmatch(request.path) is not None


def _is_for_another(request: Request, self_identity: SelfIdentity) -> bool:
    own = f"system:serviceaccount:{request.namespace}:{request.name}"
    return not _is_component(request, self_identity) and (request.is_impersonated or request.user != own)


_POSITIVE_QUESTIONS: dict[str, Question] = {
    "final-stage": _is_final,
    "dry-run": _is_dry_run,
    "own-write": _is_own,
    "system-component": _is_component,
    "impersonated": lambda request, _: request.is_impersonated,
    "anonymous": _is_anonymous,
    "discovery-path": _is_discovery,
    "stream": lambda request, _: request.subresource in STREAMS,
    "all-namespaces": lambda request, _: bool(request.resource) and not request.namespace,
    "system-role": lambda request, _: request.object_name.startswith("system:"),
    "cluster-admin-binding": lambda request, _: request.facts.binds_cluster_admin,
    "escalation": lambda request, _: bool(request.facts.grants),
    "privileged-pod": lambda request, _: bool(request.facts.privileged),
    "host-namespace-pod": lambda request, _: bool(request.facts.host_namespaces),
    "token-for-another": _is_for_another,
}


def _not(question: Question) -> Question:
    return lambda request, self_identity: not question(request, self_identity)


# By their names in a rule's `when`. Each also has a negation: not-dry-run.
QUESTIONS: Mapping[str, Question] = _POSITIVE_QUESTIONS | {f"not-{name}": _not(question) for name, question in _POSITIVE_QUESTIONS.items()}
