"""A request to the API server, as far as rules ask for it, and the questions that a list of words cannot ask.

In: what watchers/audit/body.py read from an event.  Out: yes or no.
Owns: nothing.
Stops: nothing to stop.
"""

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
# What opens a connection to a pod. kubectl asks with GET since 1.31, so the verb says nothing.
STREAMS = ("exec", "attach", "portforward")
# The API server does not look for dryRun here.
_NEVER_DRY = frozenset({*STREAMS, "proxy", "token"})
_CHANGES = frozenset({*WRITES, *DELETES})
_COMPONENTS = frozenset({"system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"})
_ANONYMOUS = "system:anonymous"
_UNAUTHENTICATED = "system:unauthenticated"
# What everybody may ask by default: health, version, and what the API server serves.
_DISCOVERY = re.compile(
    r"/(?:(?:healthz|livez|readyz)(?:/.*)?|version/?|api(?:/v1)?/?|apis(?:/[^/]+){0,2}/?|openapi.*|\.well-known/.*|openid/.*)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the object of a request shows; the texts complete a title.

    name: the object's, for a request that names none because the API server made it up.
    privileged, host_namespaces: of a pod. grants: of a role or a binding, what escalates.
    """

    name: str = ""
    privileged: str = ""
    host_namespaces: str = ""
    grants: str = ""
    binds_cluster_admin: bool = False


NO_FACTS = Facts()


@dataclass(slots=True)
class Request:
    """One stage of one request. Never changed; not frozen because thousands are made a second.

    user, groups: who acts; where somebody is impersonated, that one, and impersonator is who really asked.
    path: the URI's, without the query. code: None where the API server gave none.
    dry_run_options: whether the body of a deletion asks for a dry run; None where there is no body, or it is not told.
    """

    audit_id: str
    stage: str
    verb: str = ""
    path: str = ""
    query: str = ""
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
    code: int | None = None
    moment: str = ""
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
        """A panic says 500 whatever was done before it, and a request without a code was answered: both count as a success."""
        return 200 if self.code is None or self.has_panicked else self.code


# ---------------------------------------------------------------- what is an event


def is_event_list(kind: Any, api_version: Any) -> bool:
    return kind == "EventList" and isinstance(api_version, str) and api_version.startswith(GROUP)


def is_event(kind: Any, api_version: Any, *, has_ids: bool) -> bool:
    """has_ids: it has auditID and stage, as no other Event has. Log shippers leave out the apiVersion, some also the kind."""
    if kind not in (None, "Event"):
        return False
    return api_version.startswith(GROUP) if isinstance(api_version, str) and api_version else has_ids


def claims(document: Any) -> bool:
    """Whether it is an EventList of audit.k8s.io or one of its events."""
    if not isinstance(document, Mapping):
        return False
    kind, api_version = document.get("kind"), document.get("apiVersion")
    return is_event_list(kind, api_version) or is_event(kind, api_version, has_ids="auditID" in document and "stage" in document)


# ---------------------------------------------------------------- questions

Test = Callable[[Request, SelfIdentity], bool]


def _is_final(request: Request, _: SelfIdentity) -> bool:
    stage = request.stage
    if stage in ("ResponseComplete", PANIC):
        return True
    # A stream's start is all that is told while it lasts; who is not authenticated gets no further than that stage.
    return stage == "ResponseStarted" and request.code in (101, 401)


def _is_dry_run(request: Request, _: SelfIdentity) -> bool:
    """Only where the API server honours it: nobody hides an exec or a read behind ?dryRun=All."""
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
    """The control plane, the nodes, and what runs as a service account of kube-system; not who acts as one of them."""
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


_QUESTIONS: dict[str, Test] = {
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


def _not(test: Test) -> Test:
    return lambda request, self_identity: not test(request, self_identity)


# By the names that a rule's `when` calls them; each also with "not-" before it.
TESTS: Mapping[str, Test] = _QUESTIONS | {f"not-{name}": _not(test) for name, test in _QUESTIONS.items()}
