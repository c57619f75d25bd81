"""The outcome of one event: `zenwatch explain` and `zenwatch deadletters`, as a user types them."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.builders.posted import an_alert_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.live.client import post
from tests.support.live.commands import run_command
from tests.support.live.objects import records_of_source
from tests.support.live.process import Zenwatch, eventually

pytestmark = pytest.mark.cluster

Start = Callable[..., Zenwatch]
TOKEN = "explain-0123456789abcdef"  # noqa: S105  of no use anywhere
REFUSAL = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: {name}}}
spec:
  matchConstraints:
    resourceRules:
      - {{apiGroups: [zen.kube-zen.io], apiVersions: [v1], operations: [CREATE], resources: [zenagentevents]}}
  validations:
    - {{expression: "!object.spec.title.contains('{name}')", message: "nobody wants to know"}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: {name}}}
spec: {{policyName: {name}, validationActions: [Deny]}}
"""


def test_explain_finds_the_outcome_of_an_alert_in_the_process_and_in_the_record(
    cluster: ControlPlane, namespace: str, account: Identity, start_zenwatch: Start, tmp_path: Path
) -> None:
    """By its key and by the name of its record. An excluded event comes with its rule, an unknown one with exit code 1."""
    (tmp_path / "token").write_text(TOKEN)
    zenwatch = start_zenwatch(WEBHOOK_TOKEN_FILE=str(tmp_path / "token"))
    url = f"{zenwatch.url}/falco/webhook/{TOKEN}"
    post(url, an_alert_in(namespace, rule=f"Shell in {namespace}"))
    lease = {"resource": "leases", "apiGroup": "coordination.k8s.io"}
    excluded_id = f"excluded-{namespace}"
    excluded = {"auditID": excluded_id, "stage": "ResponseComplete", "verb": "update", "objectRef": lease}
    post(f"{zenwatch.url}/audit/webhook", excluded, Authorization=f"Bearer {TOKEN}")
    [record] = eventually(lambda: records_of_source(cluster, namespace, "falco"))
    key, name = record["spec"]["key"], record["metadata"]["name"]

    asked = {"LISTEN": zenwatch.url.partition("//")[2], "WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}
    kubeconfig = str(cluster.kubeconfig(account))
    by_key = run_command("explain", key, "--kubeconfig", kubeconfig, **asked)
    by_name = run_command("explain", name, "--kubeconfig", kubeconfig, **asked)
    by_audit_id = run_command("explain", excluded_id, **asked)
    unknown = run_command("explain", "no-such-key", **asked)
    refused = run_command("explain", key, LISTEN=asked["LISTEN"])

    assert by_key == by_name
    assert by_key[0] == 0
    assert "falco: stored at 20" in by_key[1]
    assert f"{namespace}/{name}: Open, CRITICAL, Shell in {namespace}" in by_key[1]
    assert (by_audit_id[0], "filtered" in by_audit_id[1], "The rule lease:" in by_audit_id[1]) == (0, True, True)
    assert unknown[0] == 1
    assert (refused[0], "token" in refused[1]) == (1, True)


@pytest.fixture
def refusal(cluster: ControlPlane) -> Iterator[str]:
    name = f"unwanted-{os.urandom(4).hex()}"
    cluster.kubectl("apply", "-f", "-", stdin=REFUSAL.format(name=name))
    yield name
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, name, "--ignore-not-found")


def test_an_event_that_the_api_server_refuses_for_good_is_kept_and_can_be_retried(
    cluster: ControlPlane, namespace: str, refusal: str, start_zenwatch: Start, tmp_path: Path
) -> None:
    """Other events are stored meanwhile. When the cause is removed, `retry` needs no restart."""
    spool = str(tmp_path / "spool")
    zenwatch = start_zenwatch(SPOOL_DIR=spool, DEAD_LETTER_AFTER="1s")
    url = f"{zenwatch.url}/falco/webhook"

    def refused(number: int) -> bool:
        # The API server enforces the policy after a moment.
        post(url, an_alert_in(namespace, rule=f"{refusal} {number}"))
        return bool(eventually(lambda: zenwatch.log("dead_letter") or len(records_of_source(cluster, namespace, "falco")) > number))

    tried = 0
    while not (refused(tried) and zenwatch.log("dead_letter")):
        tried += 1
    post(url, an_alert_in(namespace, rule="wanted"))
    eventually(lambda: len(records_of_source(cluster, namespace, "falco")) == tried + 1)

    def listed_letters() -> str:
        # It is written with the next transaction, and comes back now and then.
        code, listed = run_command("deadletters", "list", SPOOL_DIR=spool)
        return listed if code == 0 and "nobody wants to know" in listed else ""

    listed = eventually(listed_letters)
    cluster.kubectl("delete", "validatingadmissionpolicybinding", refusal)

    def stored() -> bool:
        run_command("deadletters", "retry", listed.splitlines()[1].split()[0], SPOOL_DIR=spool)
        for letter in run_command("deadletters", "list", SPOOL_DIR=spool)[1].splitlines()[1:]:
            run_command("deadletters", "retry", letter.split()[0], SPOOL_DIR=spool)
        return len(records_of_source(cluster, namespace, "falco")) == tried + 2

    eventually(stored)
    assert zenwatch.stop() == 0
    ledger = next(line for line in zenwatch.log("ledger") if line["source"] == "falco")
    assert (ledger["stored"], ledger["lost"], ledger["in_flight"]) == (tried + 2, 0, 0)
    assert ledger["received"] == ledger["stored"] + ledger["dead_lettered"]
