"""Make a finding of a request. The finding holds no text of the objects in the request."""

import re
from collections.abc import Mapping

from watchers.audit.request import WRITES, Request
from watchers.audit.rules import Rule
from zenwatch.sdk import Category, Detail, Finding, FindingType, Resource, fields, redacted

FINDING_TYPES = {
    event_type: FindingType("audit", "audit-", event_type, Category.COMPLIANCE)
    for event_type in (
        "resource-deletion",
        "secret-access",
        "rbac-change",
        "privileged-pod-creation",
        "pod-exec",
        "anonymous-access",
        "access-denied",
    )
}
_DONE = {
    "create": "created",
    "update": "updated",
    "patch": "patched",
    "delete": "deleted",
    "deletecollection": "deleted a collection of",
    "get": "read",
    "list": "listed",
    "watch": "watched",
    "post": "posted to",
    "put": "put to",
    "head": "read",
}
# What a request for a subresource does, whatever its verb.
_DONE_TO = {
    "exec": "ran a command in",
    "attach": "attached to",
    "portforward": "forwarded a port of",
    "ephemeralcontainers": "changed the ephemeral containers of",
    "token": "made a token for",
}
_REFUSED = (401, 403)
# The length of a text that is searched for credentials. Records hold less.
_TEXT_CHARS = 2048
# Shorter words of letters and digits count as no credentials.
_SHORT_CHARS = 16
# The path that the API server passes on to a pod, a service or a node. A namespace may be called proxy.
_PROXIED = re.compile(r"(?<!/namespaces)/proxy/.+", re.DOTALL)


def _plural_of(kind: str) -> str:
    word = kind.lower()
    if word.endswith("y"):
        return f"{word[:-1]}ies"
    return word if word == "endpoints" else f"{word}es" if word.endswith("s") else f"{word}s"


# Events name a kind by its plural, and two groups may have the same plural: pods of metrics.k8s.io are not Pods.
_KINDS = {(_plural_of(kind), api_version.rpartition("/")[0].partition("/")[0]): kind for kind, api_version in fields.API_VERSIONS.items()}


def finding_of(request: Request, rule: Rule) -> Finding:
    escalation = _escalation(request)
    return Finding(
        type=FINDING_TYPES[rule.event_type],
        key=request.audit_id,
        severity=rule.severity,
        title=_title(request, escalation),
        resource=_resource_of(request),
        details=_details(request, rule, escalation),
        detected_at=fields.time_of(request.moment),
    )


def _details(request: Request, rule: Rule, escalation: str) -> Mapping[str, Detail]:
    details: dict[str, Detail] = {
        "auditID": request.audit_id,
        "rule": rule.name,
        "verb": request.verb,
        "user": _clean(request.user),
        "groups": [_clean(group) for group in request.groups],
        "impersonatedBy": _clean(request.impersonator),
        "sourceIPs": list(request.source_ips),
        "userAgent": _clean(request.user_agent),
        "requestURI": _path_of(request),
        "escalation": escalation,
    }
    if request.code is not None:
        details["responseCode"] = request.code
    reference = {
        "resource": request.resource,
        "subresource": request.subresource,
        "namespace": request.namespace,
        "name": request.name,
        "apiGroup": request.api_group,
        "apiVersion": request.api_version,
    }
    if request.resource:
        details["objectRef"] = {part: text for part, text in reference.items() if text}
    return fields.filled(details)


def _resource_of(request: Request) -> Resource:
    if not request.resource:
        return Resource()
    return Resource(
        api_version=f"{request.api_group}/{request.api_version}" if request.api_group else request.api_version,
        kind=_kind_of(request) or request.resource,
        name=request.object_name,
        namespace=request.namespace,
    )


def _kind_of(request: Request) -> str:
    return _KINDS.get((request.resource, request.api_group), "")


def _escalation(request: Request) -> str:
    """Why the request gives rights away; empty if it gives none away, or if its object is unknown."""
    facts = request.facts
    of_system = request.verb in WRITES and request.api_group == "rbac.authorization.k8s.io" and request.object_name.startswith("system:")
    reasons = ("changes a role of Kubernetes itself" if of_system else "", facts.grants, facts.privileged, facts.host_namespaces)
    return "; ".join(reason for reason in reasons if reason)


# ---------------------------------------------------------------- the title


def _title(request: Request, escalation: str) -> str:
    """A sentence such as: alice deleted secrets shop/token."""
    sentence = f"{_who(request)} {_did(request)} {_what(request)}".rstrip()
    if escalation:
        sentence += f": {escalation}"
    if request.has_panicked:
        sentence += "; the API server panicked, so it is not known whether this was done"
    return sentence


def _who(request: Request) -> str:
    actor = _clean(request.user) or "somebody unknown"
    return f"{_clean(request.impersonator)} as {actor}" if request.is_impersonated else actor


def _did(request: Request) -> str:
    if request.effective_code in _REFUSED:
        return f"was refused to {request.verb}"
    if request.effective_code >= 400:
        return f"failed ({request.code}) to {request.verb}"
    return _DONE_TO.get(request.subresource) or _DONE.get(request.verb, f"did {request.verb} to")


def _what(request: Request) -> str:
    if not request.resource:
        return _path_of(request)
    of_all = not request.namespace and not request.object_name and _is_namespaced(request)
    namespace = "" if request.resource == "namespaces" else request.namespace
    if request.object_name:
        what = f"{request.resource} {namespace}/{request.object_name}" if namespace else f"{request.resource}/{request.object_name}"
    elif namespace or of_all:
        what = f"{request.resource} in {namespace or 'all namespaces'}"
    else:
        what = request.resource
    is_in_verb = request.subresource in _DONE_TO and request.effective_code < 400
    return f"{what} ({request.subresource})" if request.subresource and not is_in_verb else what


def _is_namespaced(request: Request) -> bool:
    """False for an unknown kind."""
    kind = _kind_of(request)
    return bool(kind) and kind not in fields.CLUSTER_SCOPED


def _path_of(request: Request) -> str:
    """The path without credentials. Each part is redacted alone, because a whole path is long enough to look like a key."""
    path = _PROXIED.sub("/proxy/…", request.path[:_TEXT_CHARS])
    return "/".join(_clean(part) if len(part) >= _SHORT_CHARS or not part.isalnum() else part for part in path.split("/"))


def _clean(text: str) -> str:
    return redacted(text[:_TEXT_CHARS])
