"""Find out what the object in a request shows: a privileged pod, a role that grants everything.

The decoder reads only the fields that the classes below name, so a pod's commands and variables never become Python objects.
Only body.py imports this file, because it imports msgspec.
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
# Who has these rights can take over the rights of other users.
_GRANTING = ("escalate", "bind", "impersonate")
_INTO_PODS = ("pods/exec", "pods/attach", "*/exec", "*/attach")
# All fields below have shorter paths. The limit is necessary because the author of the patch chooses the path.
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
    """A pod, a role or a binding: each has only its own fields."""

    kind: str | None = None
    metadata: _Named | None = None
    spec: _PodSpec | None = None
    rules: list[_PolicyRule] | None = None
    role_ref: _RoleRef | None = None


class _Operation(msgspec.Struct):
    """An operation of a JSON patch."""

    op: str | None = None
    path: str | None = None
    value: msgspec.Raw = msgspec.Raw()


_OBJECT = msgspec.json.Decoder(_Object)
_OPERATIONS = msgspec.json.Decoder(list[_Operation])
# An absent field: msgspec has empty bytes for it, Go writes null.
ABSENT = (b"", b"null")
# The exceptions of msgspec for JSON that is broken, too deep, or of other types.
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def facts_of(request: Request, *, sent: msgspec.Raw, answered: msgspec.Raw) -> Facts:
    """sent, answered: requestObject and responseObject. The answer is the whole object; what the user sent may be a patch."""
    kind = _KINDS.get((request.resource, request.api_group))
    if kind is None or request.verb not in WRITES:
        return NO_FACTS
    is_pod, subresource = kind == "Pod", request.subresource
    # Other writes cannot make a pod privileged, and nodes write the status of pods all the time.
    if is_pod and subresource != "ephemeralcontainers" and (subresource or request.verb != "create"):
        return NO_FACTS
    try:
        parts = _parts_of(kind, bytes(sent), bytes(answered))
    except UNREADABLE:
        # The API server may accept a patch that decoders refuse, so an unreadable role counts as an escalation.
        return NO_FACTS if is_pod else Facts(grants="its body cannot be read")
    name = next((part.metadata.name for part in parts if part.metadata and part.metadata.name), "")
    if is_pod:
        specs = [part.spec for part in parts if part.spec]
        return Facts(name, privileged=_privileged(specs, subresource), host_namespaces=_host_namespaces(specs))
    binds = any(part.role_ref and (part.role_ref.kind, part.role_ref.name) == ("ClusterRole", "cluster-admin") for part in parts)
    return Facts(name, grants="binds cluster-admin" if binds else _grants(parts), binds_cluster_admin=binds)


def _parts_of(kind: str, sent: bytes, answered: bytes) -> Sequence[_Object]:
    """The whole object, or the parts of it that a patch names."""
    if answered not in ABSENT:
        whole = _OBJECT.decode(answered)
        # Another kind is a Status, or a Table if the user asked for one.
        if whole.kind in (kind, None):
            return [whole]
    if sent in ABSENT:
        return []
    return list(_patched(sent)) if sent.lstrip()[:1] == b"[" else [_OBJECT.decode(sent)]


def _patched(text: bytes) -> Iterator[_Object]:
    """An object for each value of a JSON patch, built around the value according to its path."""
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
    """The privileged containers. For a running pod, only those that the request adds."""
    names: list[str] = []
    for spec in specs:
        if not subresource and spec.security_context is not None and spec.security_context.is_privileged:
            return "all its containers are privileged"
        of_pod = () if subresource else (*(spec.containers or ()), *(spec.init_containers or ()))
        containers = (*of_pod, *(spec.ephemeral_containers or ()))
        names += [container.name or "?" for container in containers if _is_privileged(container)]
    return f"privileged: {', '.join(names)}" if names else ""


def _is_privileged(container: _Container) -> bool:
    return container.security_context is not None and container.security_context.is_privileged


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
