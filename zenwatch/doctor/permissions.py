"""Which permissions an account lacks, and the rules that grant them.

In: the kinds that are read and written.  Out: what is missing of it, as the API server's own authorizer says; YAML to paste.
Owns: nothing.
Stops: nothing to stop.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from zenwatch.errors import Forbidden, NotFound
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import own_user_name
from zenwatch.kube.http.request import Call
from zenwatch.kube.scopes import scopes_of
from zenwatch.model.record import GROUP, KIND, PLURAL, VERSION
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.watcher import ApiResource, Watcher

RECORDS = ApiResource(GROUP, VERSION, PLURAL, KIND)
# As in deployments/base/rbac.yaml; tests/unit/doctor holds both together.
STORE_VERBS = ("create", "get", "list", "watch", "patch", "delete")
STATUS_VERBS = ("patch",)
READ_VERBS = ("list", "watch")

_GROUP, _VERSION = "authorization.k8s.io", "v1"
_OF_SELF = ApiResource(_GROUP, _VERSION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
_OF_OTHERS = ApiResource(_GROUP, _VERSION, "subjectaccessreviews", "SubjectAccessReview", namespaced=False)


@dataclass(frozen=True, slots=True)
class Permission:
    """namespace empty: in all of them."""

    verb: str
    resource: ApiResource
    namespace: str = ""
    subresource: str = ""

    @property
    def plural(self) -> str:
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural

    @property
    def kind(self) -> str:
        """As kubectl writes it: zenagentevents/status.zen.kube-zen.io."""
        return f"{self.plural}.{self.resource.group}" if self.resource.group else self.plural


def read_needs(watcher: Watcher, settings: Settings) -> list[Permission]:
    return [Permission(verb, resource, namespace) for resource, namespace in scopes_of(watcher, settings) for verb in READ_VERBS]


def store_parts(settings: Settings) -> tuple[str, ...]:
    """Where records may lie: everywhere, or in each namespace of WATCH_NAMESPACE and our own."""
    return tuple(dict.fromkeys([*settings.watch_namespaces, settings.own_namespace])) if settings.watch_namespaces else ("",)


def store_needs(settings: Settings) -> list[Permission]:
    return [
        need
        for part in store_parts(settings)
        for need in (
            *(Permission(verb, RECORDS, part) for verb in STORE_VERBS),
            *(Permission(verb, RECORDS, part, "status") for verb in STATUS_VERBS),
        )
    ]


class Account:
    """Whose permissions are asked for: our own, or with service_account (NAMESPACE/NAME) that one's."""

    def __init__(self, client: KubeClient, service_account: str = "") -> None:
        self._client = client
        namespace, _, name = service_account.partition("/")
        self._user = f"system:serviceaccount:{namespace}:{name}" if service_account else ""
        # What the API server adds to every service account's token.
        self._groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]

    async def name(self) -> str:
        """As the API server knows it."""
        if self._user:
            return self._user
        try:
            return await own_user_name(self._client)
        except NotFound:
            return "the account that was used (the API server is older than 1.28 and does not say who that is)"

    async def missing(self, needs: Sequence[Permission]) -> list[Permission]:
        """In the order of needs. Forbidden: nobody may ask for another's permissions without one of their own."""
        answers = await asyncio.gather(*(self._has(need) for need in needs))
        return [need for need, has in zip(needs, answers, strict=True) if not has]

    async def _has(self, need: Permission) -> bool:
        kind = _OF_OTHERS if self._user else _OF_SELF
        attributes = {
            "verb": need.verb,
            "group": need.resource.group,
            "version": need.resource.version,
            "resource": need.resource.plural,
            "subresource": need.subresource,
            "namespace": need.namespace,
        }
        who: dict[str, Any] = {"user": self._user, "groups": self._groups} if self._user else {}
        review = {"apiVersion": f"{_GROUP}/{_VERSION}", "kind": kind.kind, "spec": {"resourceAttributes": attributes, **who}}
        answer = await self._client.send(Call("create", kind), body=review)
        return bool((answer.get("status") or {}).get("allowed"))


def advice_where_not_asked(refusal: Forbidden) -> tuple[str, ...]:
    """The one permission that another's permissions cannot be asked without."""
    if _OF_OTHERS.plural not in str(refusal):
        return ("Look at who the kubeconfig says you are: kubectl auth whoami",)
    return (
        "Run doctor as somebody who may ask for others (a cluster administrator), or as the account itself:",
        "kubectl create token NAME -n NAMESPACE, in a kubeconfig of its own. The rule that allows to ask:",
        *rules_of([Permission("create", _OF_OTHERS)]),
    )


# ---------------------------------------------------------------- the rules that grant it


def told(missing: Iterable[Permission]) -> str:
    """list, watch policyreports.wgpolicyk8s.io; in namespace shop: ..."""
    return "; ".join(
        f"{', '.join(verbs)} {kinds}" + (f" in namespace {', '.join(namespaces)}" if namespaces != [""] else "")
        for namespaces, group in _by_namespaces(missing)
        for verbs, kinds in ((rule.verbs, ", ".join(rule.kinds)) for rule in _rules(group))
    )


def advice(missing: Iterable[Permission], account: str) -> tuple[str, ...]:
    """Which role has to be given which rules."""
    lines: list[str] = []
    for namespaces, group in _by_namespaces(missing):
        if namespaces == [""]:
            lines.append(f"Add this to the rules of a ClusterRole that {account} is bound to (kubectl edit clusterrole zenwatch):")
        else:
            command = f"kubectl edit role zenwatch -n {namespaces[0]}"
            lines.append(f"Add this to the rules of a Role that {account} is bound to, in {', '.join(namespaces)} ({command}):")
        lines += rules_of(group)
    return tuple(lines)


def rules_of(missing: Iterable[Permission]) -> list[str]:
    """The entries for the list `rules` of a ClusterRole or Role, as YAML; by API group, then by verbs."""
    return [
        line
        for rule in _rules(missing)
        for line in (
            "  - apiGroups: [{}]".format(rule.group or '""'),
            f"    resources: [{', '.join(rule.plurals)}]",
            f"    verbs: [{', '.join(rule.verbs)}]",
        )
    ]


@dataclass(frozen=True, slots=True)
class _Rule:
    group: str
    verbs: tuple[str, ...]
    plurals: tuple[str, ...]
    kinds: tuple[str, ...]


def _rules(missing: Iterable[Permission]) -> list[_Rule]:
    verbs: dict[tuple[str, str, str], dict[str, None]] = {}
    for need in missing:
        verbs.setdefault((need.resource.group, need.plural, need.kind), {})[need.verb] = None
    alike: dict[tuple[str, tuple[str, ...]], list[tuple[str, str]]] = {}
    for (group, plural, kind), lacking in verbs.items():
        alike.setdefault((group, tuple(lacking)), []).append((plural, kind))
    return [
        _Rule(group, lacking, tuple(plural for plural, _ in names), tuple(kind for _, kind in names))
        for (group, lacking), names in sorted(alike.items(), key=lambda entry: entry[0][0])
    ]


def _by_namespaces(missing: Iterable[Permission]) -> list[tuple[list[str], list[Permission]]]:
    """What is missing, together for all namespaces that lack the same."""
    lacking: dict[str, list[Permission]] = {}
    for need in missing:
        lacking.setdefault(need.namespace, []).append(need)
    alike: dict[tuple[str, ...], tuple[list[str], list[Permission]]] = {}
    for namespace, needs in lacking.items():
        namespaces, _ = alike.setdefault(tuple(f"{need.verb} {need.kind}" for need in needs), ([], needs))
        namespaces.append(namespace)
    return list(alike.values())
