"""watchers/audit/facts.py: which pods are privileged, and which roles let a user gain rights."""

from typing import Any

import pytest

from tests.support.audit_events import RBAC, Json, a_binding, a_pod, a_reference, a_role, an_event, judged

ROLE, ROLES_KIND = a_reference(f"roles.{RBAC}", "reader"), "Role"
EPHEMERAL = a_reference("pods", subresource="ephemeralcontainers")


def escalation_of(event: Json) -> str:
    finding = judged(event).finding
    return str(finding.details.get("escalation", "")) if finding else ""


def a_context(**context: Any) -> list[Json]:
    return [{"name": "web"}, {"name": "agent", "securityContext": context}]


@pytest.mark.parametrize(
    ("spec", "escalation"),
    [
        ({"containers": a_context(privileged=True)}, "privileged: agent"),
        ({"initContainers": a_context(privileged=True)}, "privileged: agent"),
        ({"ephemeralContainers": a_context(privileged=True)}, "privileged: agent"),
        ({"containers": a_context(windowsOptions={"hostProcess": True})}, "privileged: agent"),
        ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "all its containers are privileged"),
        ({"hostPID": True}, "shares the host's processes"),
        ({"hostNetwork": True, "hostIPC": True}, "shares the host's network, IPC"),
        ({"containers": a_context(privileged=True), "hostPID": True}, "privileged: agent; shares the host's processes"),
        ({"containers": a_context(privileged=False), "hostPID": False, "hostNetwork": None, "securityContext": {}}, ""),
        ({"containers": a_context(allowPrivilegeEscalation=True), "initContainers": None}, ""),
    ],
)
def test_a_pod_shows_its_privileges(spec: Json, escalation: str) -> None:
    """In the answer, or in the request if the event has no answer."""
    pod = a_pod(**spec)

    for sent, answered in ((pod, None), (None, pod), (a_pod(), pod)):
        event = an_event("pods", verb="create", code=201, requestObject=sent, responseObject=answered)
        assert escalation_of(event) == escalation
        assert judged(event).finding is None or escalation


def test_an_update_of_a_pod_shows_nothing() -> None:
    """The nodes write the status of privileged pods all the time."""
    pod = a_pod(hostNetwork=True)

    assert judged(an_event("pods", verb="patch", responseObject=pod)).rule == "unimportant"
    assert judged(an_event(a_reference("pods", subresource="status"), verb="patch", responseObject=pod)).rule == "unimportant"
    assert judged(an_event(a_reference("pods", subresource="binding"), verb="create", requestObject=pod)).rule == "unimportant"


def test_only_added_containers_of_a_running_pod_count() -> None:
    """Whoever adds an ordinary container to a privileged pod gains nothing."""
    running: Json = {"containers": a_context(privileged=True), "hostPID": True}

    added = judged(an_event(EPHEMERAL, verb="patch", responseObject=a_pod(**running, ephemeralContainers=[{"name": "debug"}])))
    privileged = judged(an_event(EPHEMERAL, verb="patch", responseObject=a_pod(**running, ephemeralContainers=a_context(privileged=True))))

    assert (added.rule, privileged.rule) == ("ephemeral-container", "privileged-ephemeral-container")


@pytest.mark.parametrize("answer", [{"kind": "Status", "code": 201}, {"kind": "PartialObjectMetadata", "metadata": {"name": "x"}}, None])
def test_an_answer_without_the_object_hides_nothing(answer: Any) -> None:
    """The user may ask for a Table, or for metadata only."""
    event = an_event("pods", verb="create", code=201, requestObject=a_pod(hostPID=True), responseObject=answer)

    assert judged(event).rule == "host-namespace-pod"


def test_the_answer_counts_more_than_the_request() -> None:
    """Admission may have changed the pod, and the answer is the stored pod."""
    event = an_event("pods", verb="create", code=201, requestObject=a_pod(hostPID=True), responseObject=a_pod())

    assert judged(event).rule == "unimportant"


# ---------------------------------------------------------------- roles


@pytest.mark.parametrize(
    ("rule", "escalation"),
    [
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}, "grants every verb"),
        ({"apiGroups": [""], "resources": ["*"], "verbs": ["get"]}, "grants every resource"),
        ({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["patch"]}, "grants writes in every API group"),
        ({"apiGroups": ["*"], "resources": ["pods"], "verbs": ["get", "list"]}, ""),
        ({"apiGroups": [""], "resources": ["pods/exec", "pods/log"], "verbs": ["get"]}, "grants pods/exec"),
        ({"apiGroups": [""], "resources": ["pods/attach"], "verbs": ["create"]}, "grants pods/attach"),
        ({"apiGroups": [""], "resources": ["*/exec"], "verbs": ["create"]}, "grants */exec"),
        ({"apiGroups": [RBAC], "resources": ["clusterroles"], "verbs": ["bind", "escalate"]}, "grants escalate, bind"),
        ({"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}, "grants impersonate"),
        ({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "create", "delete"]}, ""),
        ({"nonResourceURLs": ["*"], "verbs": ["get"]}, ""),
        ({"apiGroups": None, "resources": None, "verbs": None}, ""),
    ],
)
def test_a_role_shows_what_it_grants(rule: Json, escalation: str) -> None:
    """Everything, access to pods, or the right to gain more rights."""
    role = a_role({"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, rule, kind=ROLES_KIND)

    for verb, carried in (
        ("create", {"requestObject": role}),
        ("update", {"responseObject": role}),
        ("patch", {"requestObject": {"rules": [rule]}}),
    ):
        event = an_event(ROLE, verb=verb, **carried)
        assert escalation_of(event) == escalation
        assert judged(event).rule == ("role-escalation" if escalation else "rbac-change")


@pytest.mark.parametrize(
    ("operations", "escalation"),
    [
        ([{"op": "add", "path": "/rules/-", "value": {"verbs": ["*"]}}], "grants every verb"),
        ([{"op": "replace", "path": "/rules/0/verbs", "value": ["get", "escalate"]}], "grants escalate"),
        ([{"op": "add", "path": "/rules/0/resources/-", "value": "pods/exec"}], "grants pods/exec"),
        ([{"op": "replace", "path": "/rules", "value": [{"resources": ["*"]}]}], "grants every resource"),
        ([{"op": "test", "path": "/rules/0/verbs/0", "value": "*"}, {"op": "remove", "path": "/rules/0"}], ""),
        ([{"op": "add", "path": "/metadata/labels/a~1b", "value": "*"}], ""),
        ([{"op": "add", "path": "/a" * 100_000, "value": 1}, {"op": "add"}, {"path": None}], ""),
        ([], ""),
    ],
)
def test_a_json_patch_shows_what_it_adds(operations: list[Json], escalation: str) -> None:
    """Without an answer, the event has only the patch."""
    assert escalation_of(an_event(ROLE, verb="patch", requestObject=operations)) == escalation


@pytest.mark.parametrize(
    ("role", "kind", "rule"),
    [
        ("cluster-admin", "ClusterRole", "cluster-admin-binding"),
        ("cluster-admin", "Role", "rbac-change"),
        ("cluster-admin2", "ClusterRole", "rbac-change"),
        ("admin", "ClusterRole", "rbac-change"),
    ],
)
def test_only_a_binding_to_the_cluster_role_cluster_admin_counts(role: str, kind: str, rule: str) -> None:
    """A Role in a namespace may have the same name."""
    about = a_reference(f"clusterrolebindings.{RBAC}", "bound", "")

    assert judged(an_event(about, verb="create", code=201, requestObject=a_binding(role, role_kind=kind))).rule == rule


@pytest.mark.parametrize(
    "sent", [{"rules": "*"}, {"rules": [{"verbs": "*"}]}, "text", 7, [1], [{"op": "add", "path": "/rules", "value": 1}]]
)
def test_an_unreadable_role_counts_as_an_escalation(sent: Any) -> None:
    """The API server accepted it, so it may grant anything."""
    assert escalation_of(an_event(ROLE, verb="patch", requestObject=sent)) == "its body cannot be read"


def test_without_objects_a_change_is_only_a_change() -> None:
    """Events of the level Metadata have no objects."""
    verdict = judged(an_event(ROLE, verb="update"))

    assert verdict.rule == "rbac-change"
    assert verdict.finding is not None
    assert "escalation" not in verdict.finding.details


def test_an_aggregated_role_is_no_escalation() -> None:
    """The roles edit and admin of Kubernetes grant pods/exec, so every operator that adds to them would raise an alarm."""
    user = {"username": "system:serviceaccount:kube-system:clusterrole-aggregation-controller"}
    about = a_reference(f"clusterroles.{RBAC}", "edit", "")
    role = a_role({"verbs": ["create"], "resources": ["pods/exec"]})

    assert judged(an_event(about, verb="patch", user=user, responseObject=role)).rule == "role-aggregation"
    assert judged(an_event(about, verb="patch", impersonatedUser=user, responseObject=role)).rule == "role-escalation"
