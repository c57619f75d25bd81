"""Ask the API server's authorizer which permissions an account lacks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zenwatch.errors import NotFound, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import own_user_name
from zenwatch.kube.http.request import Call
from zenwatch.sdk.watcher import ApiResource

_GROUP, _VERSION = "authorization.k8s.io", "v1"
_SELF_REVIEWS = ApiResource(_GROUP, _VERSION, "selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False)
REVIEWS = ApiResource(_GROUP, _VERSION, "subjectaccessreviews", "SubjectAccessReview", namespaced=False)


@dataclass(frozen=True, slots=True)
class Permission:
    """namespace: empty for all namespaces."""

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


class Account:
    """The account whose permissions are checked: the client's own, or the service account NAMESPACE/NAME."""

    def __init__(self, client: KubeClient, service_account: str = "") -> None:
        self._client = client
        namespace, _, name = service_account.partition("/")
        self._user = f"system:serviceaccount:{namespace}:{name}" if service_account else ""
        # The API server adds these groups to every service account.
        self._groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]

    async def name(self) -> str:
        """The name that the API server knows the account by, or a phrase that can be printed in its place."""
        if self._user:
            return self._user
        try:
            return await own_user_name(self._client)
        except NotFound:
            return "the account that was used (the API server is older than 1.28 and does not say who that is)"
        except ZenwatchError as exc:
            return f"an account that the API server does not name ({first_line(exc)})"

    async def missing(self, needs: Sequence[Permission]) -> list[Permission]:
        """The permissions that the account lacks, in the order of `needs`.

        Forbidden: the client must have a permission of its own to ask about another account.
        """
        grants = await asyncio.gather(*(self._has(need) for need in needs))
        return [need for need, is_granted in zip(needs, grants, strict=True) if not is_granted]

    async def _has(self, need: Permission) -> bool:
        kind = REVIEWS if self._user else _SELF_REVIEWS
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
        reviewed = await self._client.send(Call("create", kind), body=review)
        return bool((reviewed.get("status") or {}).get("allowed"))
