"""What the object of a request shows: a privileged pod, a role that grants everything.

Only what is named in the classes below is decoded, so a pod's commands and variables never become Python objects.
Imports msgspec: import it only through watchers/audit/body.py.

In: requestObject and responseObject as they stand in an event.  Out: Facts.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Iterator, Sequence

import msgspec
import orjson

from watchers.audit.request import DELETES, NO_FACTS, WRITES, Facts, Request

RBAC = "rbac.authorization.k8s.io"
_KINDS = {
    ("pods", ""): "Pod",
    ("roles", RBAC): "Role",
    ("rolebindings", RBAC): "RoleBinding",
    ("clusterroles", RBAC): "ClusterRole",
    ("clusterrolebindings", RBAC): "ClusterRoleBinding",
}
_WRITING = frozenset({*WRITES, *DELETES, "*"})
# Whoever may do these can become whoever they like.
_GRANTING = ("escalate", "bind", "impersonate")
_INTO_PODS = ("pods/exec", "pods/attach", "*/exec", "*/attach")
# Deeper than this lies nothing that is asked for; a path is its author's text.
_MOST_STEPS = 8


class _Named(msgspec.Struct):
    name: str | None = None


class _WindowsOptions(msgspec.Struct, rename="camel"):
    host_process: bool | None = None


class _SecurityContext(msgspec.Struct, rename="camel"):
    privileged: bool | None = None
    windows_options: _WindowsOptions | None = None

    @property
    def is_privileged(self) -> bool:
        return self.privileged is True or (self.windows_options is not None and self.windows_options.host_process is True)


class _Container(msgspec.Struct, rename="camel"):
    name: str | None = None
    security_context: _SecurityContext | None = None


class _PodSpec(msgspec.Struct, rename="camel"):
    containers: list[_Container] | None = None
    init_containers: list[_Container] | None = None
    ephemeral_containers: list[_Container] | None = None
    security_context: _SecurityContext | None = None
    host_pid: bool | None = msgspec.field(default=None, name="hostPID")
    host_ipc: bool | None = msgspec.field(default=None, name="hostIPC")
    host_network: bool | None = None


class _PolicyRule(msgspec.Struct, rename="camel"):
    verbs: list[str] | None = None
    resources: list[str] | None = None
    api_groups: list[str] | None = None


class _RoleRef(msgspec.Struct):
    kind: str | None = None
    name: str | None = None


class _Object(msgspec.Struct, rename="camel"):
    """A pod, a role or a binding; of each the others' fields are missing."""

    kind: str | None = None
    metadata: _Named | None = None
    spec: _PodSpec | None = None
    rules: list[_PolicyRule] | None = None
    role_ref: _RoleRef | None = None


class _Operation(msgspec.Struct):
    """Of a JSON patch."""

    op: str | None = None
    path: str | None = None
    value: msgspec.Raw = msgspec.Raw()


_OBJECT = msgspec.json.Decoder(_Object)
_OPERATIONS = msgspec.json.Decoder(list[_Operation])
# A Raw that is not there, and one that Go wrote without its being there.
ABSENT = (b"", b"null")
# What msgspec raises for JSON that is broken, too deep, or of other types.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def facts_of(request: Request, *, said: msgspec.Raw, answered: msgspec.Raw) -> Facts:
    """said, answered: requestObject and responseObject. The answer is the whole object, what was said perhaps a patch."""
    kind = _KINDS.get((request.resource, request.api_group))
    if kind is None or request.verb not in WRITES:
        return NO_FACTS
    is_pod, subresource = kind == "Pod", request.subresource
    # What else is written to a pod cannot make it privileged, and the nodes write it all the time.
    if is_pod and subresource != "ephemeralcontainers" and (subresource or request.verb != "create"):
        return NO_FACTS
    try:
        parts = _parts_of(kind, bytes(said), bytes(answered))
    except UNREADABLE:
        # A patch may hold what the API server reads and decoders refuse. Who hides a role there is not let through.
        return NO_FACTS if is_pod else Facts(grants="its body cannot be read")
    name = next((part.metadata.name for part in parts if part.metadata and part.metadata.name), "")
    if is_pod:
        specs = [part.spec for part in parts if part.spec]
        return Facts(name, privileged=_privileged(specs, subresource), host_namespaces=_host_namespaces(specs))
    binds = any(part.role_ref and (part.role_ref.kind, part.role_ref.name) == ("ClusterRole", "cluster-admin") for part in parts)
    return Facts(name, grants="binds cluster-admin" if binds else _grants(parts), binds_cluster_admin=binds)


def _parts_of(kind: str, said: bytes, answered: bytes) -> Sequence[_Object]:
    """The object; or parts of it, which a patch names."""
    if answered not in ABSENT:
        whole = _OBJECT.decode(answered)
        # Else a Status; or a Table, which the author of the request may have asked for.
        if whole.kind in (kind, None):
            return [whole]
    if said in ABSENT:
        return []
    return list(_patched(said)) if said.lstrip()[:1] == b"[" else [_OBJECT.decode(said)]


def _patched(text: bytes) -> Iterator[_Object]:
    """Of a JSON patch each value, with as much of the object around it as its path says."""
    for operation in _OPERATIONS.decode(text):
        steps = (operation.path or "").split("/", _MOST_STEPS + 1)[1:]
        value = bytes(operation.value)
        if operation.op not in ("add", "replace") or value in ABSENT or len(steps) > _MOST_STEPS:
            continue
        for step in reversed(steps):
            value = b"[%b]" % value if step == "-" or step.isdecimal() else b"{%b:%b}" % (orjson.dumps(step), value)
        yield _OBJECT.decode(value)


# ---------------------------------------------------------------- pods


def _privileged(specs: Sequence[_PodSpec], subresource: str) -> str:
    """Which containers; of a pod that is running only those that are added to it."""
    names: list[str] = []
    for spec in specs:
        if not subresource and spec.security_context is not None and spec.security_context.is_privileged:
            return "all its containers are privileged"
        of_pod = () if subresource else (*(spec.containers or ()), *(spec.init_containers or ()))
        containers = (*of_pod, *(spec.ephemeral_containers or ()))
        names += [one.name or "?" for one in containers if one.security_context is not None and one.security_context.is_privileged]
    return f"privileged: {', '.join(names)}" if names else ""


def _host_namespaces(specs: Sequence[_PodSpec]) -> str:
    shared = {
        "network": any(spec.host_network for spec in specs),
        "processes": any(spec.host_pid for spec in specs),
        "IPC": any(spec.host_ipc for spec in specs),
    }
    names = [name for name, is_shared in shared.items() if is_shared]
    return f"shares the host's {', '.join(names)}" if names else ""


# ---------------------------------------------------------------- roles


def _grants(parts: Sequence[_Object]) -> str:
    found = dict.fromkeys(grant for part in parts for rule in part.rules or () for grant in _grants_of(rule))
    return f"grants {', '.join(found)}" if found else ""


def _grants_of(rule: _PolicyRule) -> Iterator[str]:
    verbs = rule.verbs or ()
    if "*" in verbs:
        yield "every verb"
    if "*" in (rule.resources or ()):
        yield "every resource"
    if "*" in (rule.api_groups or ()) and not _WRITING.isdisjoint(verbs):
        yield "writes in every API group"
    yield from (verb for verb in _GRANTING if verb in verbs)
    yield from (resource for resource in _INTO_PODS if resource in (rule.resources or ()))
