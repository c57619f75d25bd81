"""One namespace refuses records, quickly or slowly: the others do not notice, and what waits is stored once the cause is gone."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.builders.posted import an_alert_in
from tests.support.builders.vulnerability_reports import a_vulnerability, report_in, report_on
from tests.support.controlplane.cluster import ControlPlane
from tests.support.faults.silent_webhook import silent_webhook
from tests.support.live.client import get, post
from tests.support.live.objects import apply, records, records_of_source
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster
Start = Callable[..., Zenwatch]

QUOTA = "count/zenagentevents.zen.kube-zen.io"
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  matchConstraints:
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}
    resourceRules: [{{apiGroups: [zen.kube-zen.io], apiVersions: [v1], operations: [CREATE], resources: [zenagentevents]}}]
  validations: [{{expression: "false", message: "no records in here"}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
"""


@pytest.fixture
def neighbour(cluster: ControlPlane) -> str:
    """A second namespace."""
    name = f"neighbour-{os.urandom(4).hex()}"
    cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def quota(cluster: ControlPlane, neighbour: str) -> Iterator[Callable[[int], None]]:
    """quota(n): the neighbour may hold n records. No controller computes the status of a quota here."""

    def allow(count: int) -> None:
        spec = {"hard": {QUOTA: str(count)}}
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "records", "namespace": neighbour}, "spec": spec}
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
        status = json.dumps({"status": spec | {"used": {QUOTA: "0"}}})
        cluster.kubectl("patch", "resourcequota", "records", "-n", neighbour, "--subresource=status", "--type=merge", "-p", status)

    yield allow
    cluster.kubectl("delete", "resourcequota", "records", "-n", neighbour, "--ignore-not-found")


def alerts(url: str, namespace: str, count: int) -> list[int]:
    """Post so many alerts of different rules. Return the statuses."""
    return [post(f"{url}/falco/webhook", an_alert_in(namespace, rule=f"rule {number} of {namespace}"))[0] for number in range(count)]


def stored(cluster: ControlPlane, namespace: str, source: str = "falco") -> int:
    return len(records_of_source(cluster, namespace, source))


def _pod(namespace: str, number: int) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"name": f"web-{number}", "namespace": namespace}}


def test_a_webhook_that_never_answers_costs_other_namespaces_nothing(
    cluster: ControlPlane, namespace: str, neighbour: str, start_zenwatch: Start
) -> None:
    """20 alerts hang for 10 s each. The 40 alerts and the report of another namespace are stored before one of them is refused."""
    zenwatch = start_zenwatch()
    url = zenwatch.url
    eventually(lambda: zenwatch.log("records_read_back"))
    with silent_webhook(cluster, neighbour):
        assert alerts(url, neighbour, 20) == [200] * 20
        assert alerts(url, namespace, 40) == [200] * 40
        apply(cluster, report_in(namespace, a_vulnerability()))
        eventually(lambda: (stored(cluster, namespace), stored(cluster, namespace, "trivy")) == (40, 1))
        assert stored(cluster, neighbour) == 0
        line = zenwatch.wait_for_log("writes_refused")
        assert (line["namespace"], line["reason"] in ("slow", "webhook")) == (neighbour, True)
        eventually(lambda: f"writes/{neighbour} refused" in get(f"{url}/readyz")[1])
        assert get(f"{url}/readyz")[0] == 200
    eventually(lambda: stored(cluster, neighbour) == 20, within_secs=90)
    eventually(lambda: zenwatch.log("writes_taken_again"))
    assert "writes/" not in get(f"{url}/readyz")[1]


def test_a_quota_costs_other_namespaces_nothing(
    cluster: ControlPlane, namespace: str, neighbour: str, quota: Callable[[int], None], start_zenwatch: Start
) -> None:
    """20 reports of 50 findings are refused there; a healthy report of 20 findings and all alerts elsewhere are stored meanwhile."""
    quota(0)
    many = [a_vulnerability(vulnerabilityID=f"CVE-2026-{number}") for number in range(50)]
    apply(cluster, *(report_on(_pod(neighbour, number), *many) for number in range(20)))
    zenwatch = start_zenwatch()
    url = zenwatch.url
    assert alerts(url, neighbour, 110) == [200] * 110
    apply(cluster, report_in(namespace, *many[:20]))
    assert alerts(url, namespace, 12) == [200] * 12

    eventually(lambda: (stored(cluster, namespace), stored(cluster, namespace, "trivy")) == (12, 20))
    assert records(cluster, neighbour) == []
    line = zenwatch.wait_for_log("writes_refused")
    assert (line["namespace"], line["reason"], "exceeded quota" in line["error"]) == (neighbour, "quota", True)
    assert zenwatch.log("round_failed") == []

    quota(10_000)
    eventually(lambda: (stored(cluster, neighbour), stored(cluster, neighbour, "trivy")) == (110, 1000), within_secs=120)


def test_a_policy_is_quoted_in_its_own_words_and_what_it_refused_comes_back(
    cluster: ControlPlane, namespace: str, neighbour: str, start_zenwatch: Start
) -> None:
    """It is no missing permission. After DEAD_LETTER_AFTER the alerts are dead letters, and without the policy they come back."""
    cluster.kubectl("apply", "-f", "-", stdin=POLICY.format(name=neighbour))
    zenwatch = start_zenwatch(DEAD_LETTER_AFTER="1s")
    url = zenwatch.url

    def refused() -> bool:
        # The API server enforces the policy after a moment.
        alerts(url, neighbour, 5)
        alerts(url, namespace, 5)
        return bool(zenwatch.log("writes_refused"))

    eventually(refused)
    line = zenwatch.log("writes_refused")[0]
    assert (line["namespace"], line["reason"], "no records in here" in line["error"]) == (neighbour, "policy", True)
    assert zenwatch.log("permission_missing") == []
    eventually(lambda: zenwatch.log("dead_letter"))

    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, neighbour)
    eventually(lambda: stored(cluster, neighbour) == 5, within_secs=120)


def test_a_namespace_that_terminates_for_ever_does_not_keep_its_records_from_being_stored(
    cluster: ControlPlane, namespace: str, neighbour: str, start_zenwatch: Start
) -> None:
    """A finalizer keeps it. Its alerts are stored in zenwatch's own namespace, and other alerts where they belong."""
    metadata = {"name": "stuck", "namespace": neighbour, "finalizers": ["example.com/never"]}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(config))
    cluster.kubectl("delete", "namespace", neighbour, "--wait=false")
    try:
        zenwatch = start_zenwatch()
        assert alerts(zenwatch.url, neighbour, 12) == [200] * 12
        assert alerts(zenwatch.url, namespace, 12) == [200] * 12
        eventually(lambda: stored(cluster, namespace) == 12)

        def elsewhere() -> int:
            return sum(record["metadata"]["namespace"] != neighbour for record in records(cluster, neighbour))

        eventually(lambda: elsewhere() == 12)
    finally:
        cluster.kubectl("patch", "configmap", "stuck", "-n", neighbour, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')


def test_its_own_namespace_is_made_where_that_is_allowed_and_missed_where_not(
    cluster: ControlPlane, namespace: str, start_zenwatch: Start
) -> None:
    """An administrator's zenwatch creates it; one with the shipped rights says what to type, and stores what it can."""
    name = f"own-{os.urandom(4).hex()}"
    confined = start_zenwatch(POD_NAMESPACE=name)
    line = confined.wait_for_log("own_namespace_missing")
    assert f"kubectl create namespace {name}" in line["reason"]
    assert alerts(confined.url, namespace, 3) == [200] * 3
    eventually(lambda: stored(cluster, namespace) == 3)
    confined.stop()

    zenwatch = start_zenwatch(identity=cluster.admin, POD_NAMESPACE=name)
    zenwatch.wait_for_log("own_namespace_created")
    assert alerts(zenwatch.url, "no-such-namespace", 1) == [200]
    eventually(lambda: stored(cluster, name) == 1)
