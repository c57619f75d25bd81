"""A service account of the test's own with the shipped rules, which the test can revoke and grant again."""

import json
from types import TracebackType
from typing import Any, Self

from tests.support.controlplane.cluster import ControlPlane
from tests.support.live.process import eventually

Json = dict[str, Any]
OWN_NAMESPACE = "zenwatch"
API = "rbac.authorization.k8s.io"


class Rights:
    """The account and its rules exist for a with block."""

    def __init__(self, cluster: ControlPlane, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self._rules: list[Json] = json.loads(cluster.kubectl("get", "clusterrole", "zenwatch", "-o", "json"))["rules"]
        self.identity = cluster.service_account(OWN_NAMESPACE, name)

    def __enter__(self) -> Self:
        self.grant()
        subject = f"--serviceaccount={OWN_NAMESPACE}:{self._name}"
        self._cluster.kubectl("create", "clusterrolebinding", self._name, f"--clusterrole={self._name}", subject)
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self._cluster.kubectl("delete", "clusterrolebinding", self._name)
        self._cluster.kubectl("delete", "clusterrole", self._name)
        self._cluster.kubectl("delete", "serviceaccount", self._name, "-n", OWN_NAMESPACE)

    def grant(self) -> None:
        """Grant all shipped rules."""
        self._write(self._rules)

    def revoke(self, resource: str) -> None:
        """Return when the API server refuses to list the resource. An open watch stays open."""
        left = [{**rule, "resources": [kind for kind in rule["resources"] if kind != resource]} for rule in self._rules]
        self._write([rule for rule in left if rule["resources"]])
        [group] = [rule["apiGroups"][0] for rule in self._rules if resource in rule["resources"]]
        eventually(lambda: not self._may_list(group, resource))

    def _write(self, rules: list[Json]) -> None:
        role = {"apiVersion": f"{API}/v1", "kind": "ClusterRole", "metadata": {"name": self._name}, "rules": rules}
        self._cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(role))

    def _may_list(self, group: str, resource: str) -> bool:
        user = f"system:serviceaccount:{OWN_NAMESPACE}:{self._name}"
        spec = {"user": user, "resourceAttributes": {"group": group, "resource": resource, "verb": "list"}}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        return self._cluster.kubectl("create", "-f", "-", "-o", "jsonpath={.status.allowed}", stdin=json.dumps(review)) == "true"
