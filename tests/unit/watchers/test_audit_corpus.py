"""Real audit events from the folder $ZENWATCH_CORPUS, with the rule of each."""

import pytest

from tests.support.audit_events import verdicts
from tests.support.corpus import CORPUS
from tests.support.stored_fields import faults_of

# In the order of the file.
EXPECTED = {
    "event_deletecollection_response_list.json": ["deletion"],
    "event_deployment_scale_subresource.json": ["unimportant"],
    # Discovery by controllers, a refused create, reads of the cloud's own user, discovery of that user, a watch of ConfigMaps.
    "eventlist_aks_reads_and_noise.json": [
        *["control-plane-read"] * 2,
        *["unimportant"] * 2,
        *["control-plane-read"] * 5,
        "discovery",
        "unimportant",
    ],
    "eventlist_dryrun_patch_secret.yaml": ["dry-run"],
    "eventlist_native_envelope_request_received_only.json": ["not-final-stage"],
    "eventlist_pod_exec_attach.json": ["pod-stream"] * 2,
    "eventlist_privileged_pod_requestresponse.json": ["privileged-pod"],
    "eventlist_rbac_changes.json": ["cluster-admin-binding", "rbac-change", "role-escalation", "role-escalation", "rbac-deletion"],
    "eventlist_secret_create_two_stages_k8s135.json": ["not-final-stage", "secret-write"],
    "eventlist_secrets_configmaps.json": ["secret-write", "secret-deletion", "secret-write", *["unimportant"] * 6, "deletion"],
    "single_event_v1beta1_raw.json": ["unimportant"],
}
TITLES = {
    "event_deletecollection_response_list.json": ["system:admin deleted a collection of flunders in example-raw"],
    "eventlist_pod_exec_attach.json": [
        "minikube-user ran a command in pods default/nginx-deployment-7998647bdf-phvq7",
        "minikube-user attached to pods default/nginx-deployment-7998647bdf-phvq7",
    ],
    "eventlist_privileged_pod_requestresponse.json": [
        "system:serviceaccount:kube-system:replicaset-controller created pods default/nginx-deployment-5cdcc99dbf-rgw6z: privileged: nginx"
    ],
    "eventlist_rbac_changes.json": [
        "minikube-user created clusterrolebindings/some-reader-binding: binds cluster-admin",
        "minikube-user created clusterrolebindings/some-reader-binding",
        "minikube-user created clusterroles/some-reader: grants every verb",
        "minikube-user created clusterroles/some-reader: grants pods/exec",
        "minikube-user deleted clusterroles/some-reader",
    ],
    "eventlist_secret_create_two_stages_k8s135.json": ["kubernetes-admin created secrets default/test-secret"],
}
SECRETS = ("never-commit-this", "MY-KEY", "MY-ID", "last-applied-configuration", "command=")


@pytest.mark.parametrize("name", EXPECTED)
def test_real_events_have_the_expected_rules(name: str) -> None:
    """The API server would accept every record, every title is a sentence, and no text of an object is in a record."""
    file = CORPUS / "audit" / name
    if not file.exists():
        pytest.skip(f"no corpus: set ZENWATCH_CORPUS to a folder that holds audit/{name}")

    judged = verdicts(file.read_bytes(), "application/yaml" if file.suffix == ".yaml" else "application/json")

    findings = [verdict.finding for verdict in judged if verdict.finding is not None]
    assert [verdict.rule for verdict in judged] == EXPECTED[name]
    assert faults_of(findings) == []
    assert [finding.title for finding in findings] == TITLES.get(name, [finding.title for finding in findings])
    assert not [secret for secret in SECRETS if secret in repr(judged)]


def test_every_file_of_the_corpus_is_known() -> None:
    """A new file needs an entry above."""
    assert {file.name for file in (CORPUS / "audit").glob("*")} <= EXPECTED.keys()
