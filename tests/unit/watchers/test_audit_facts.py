"""watchers/audit/facts.py: what makes a pod privileged, and what in a role escalates."""

from typing import Any

import pytest

from tests.support.audit_events import RBAC, Json, a_binding, a_pod, a_reference, a_role, an_event, judged

ROLE, ROLES_KIND = a_reference(f"roles.{RBAC}", "reader"), "Role"
EPHEMERAL = a_reference("pods", subresource="ephemeralcontainers")


def escalation_of(event: Json) -> str:
    finding = judged(event).finding
    return str(finding.details.get("escalation", "")) if finding else ""


def a_context(**said: Any) -> list[Json]:
    return [{"name": "web"}, {"name": "agent", "securityContext": said}]


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
def test_pods(spec: Json, escalation: str) -> None:
    """From the answer, or from what was said where the answer is not audited."""
    pod = a_pod(**spec)

    for said, answered in ((pod, None), (None, pod), (a_pod(), pod)):
        event = an_event("pods", verb="create", code=201, requestObject=said, responseObject=answered)
        assert escalation_of(event) == escalation
        assert judged(event).finding is None or escalation


def test_a_pod_that_is_written_was_created_before() -> None:
    """The nodes write the status of privileged pods all day long."""
    pod = a_pod(hostNetwork=True)

    assert judged(an_event("pods", verb="patch", responseObject=pod)).rule == "unimportant"
    assert judged(an_event(a_reference("pods", subresource="status"), verb="patch", responseObject=pod)).rule == "unimportant"
    assert judged(an_event(a_reference("pods", subresource="binding"), verb="create", requestObject=pod)).rule == "unimportant"


def test_of_a_running_pod_only_the_added_containers_count() -> None:
    """It was privileged before; who adds a container that is not changes nothing of that."""
    running: Json = {"containers": a_context(privileged=True), "hostPID": True}

    added = judged(an_event(EPHEMERAL, verb="patch", responseObject=a_pod(**running, ephemeralContainers=[{"name": "debug"}])))
    privileged = judged(an_event(EPHEMERAL, verb="patch", responseObject=a_pod(**running, ephemeralContainers=a_context(privileged=True))))

    assert (added.rule, privileged.rule) == ("ephemeral-container", "privileged-ephemeral-container")


@pytest.mark.parametrize("answer", [{"kind": "Status", "code": 201}, {"kind": "PartialObjectMetadata", "metadata": {"name": "x"}}, None])
def test_an_answer_that_does_not_show_the_object_hides_nothing(answer: Any) -> None:
    """Whoever makes a request may ask for a Table, or for metadata only."""
    event = an_event("pods", verb="create", code=201, requestObject=a_pod(hostPID=True), responseObject=answer)

    assert judged(event).rule == "host-namespace-pod"


def test_what_an_admission_took_back_is_not_there() -> None:
    """The answer is what was stored."""
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
def test_roles(rule: Json, escalation: str) -> None:
    """What gives everything, a way into pods, or the right to take more."""
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
    """Where answers are not audited, the patch is all there is."""
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
def test_bindings(role: str, kind: str, rule: str) -> None:
    """A Role of a namespace may be called cluster-admin too."""
    about = a_reference(f"clusterrolebindings.{RBAC}", "bound", "")

    assert judged(an_event(about, verb="create", code=201, requestObject=a_binding(role, role_kind=kind))).rule == rule


@pytest.mark.parametrize(
    "said", [{"rules": "*"}, {"rules": [{"verbs": "*"}]}, "text", 7, [1], [{"op": "add", "path": "/rules", "value": 1}]]
)
def test_who_hides_what_a_role_grants_is_not_let_through(said: Any) -> None:
    """A body that the API server took and that cannot be read is no reason to call the change a small one."""
    assert escalation_of(an_event(ROLE, verb="patch", requestObject=said)) == "its body cannot be read"


def test_where_bodies_are_not_audited_nothing_is_claimed() -> None:
    """Level Metadata: a change, and no more."""
    verdict = judged(an_event(ROLE, verb="update"))

    assert verdict.rule == "rbac-change"
    assert verdict.finding is not None
    assert "escalation" not in verdict.finding.details


def test_an_aggregated_role_is_whose_it_was() -> None:
    """The edit and admin roles of Kubernetes grant pods/exec; each operator that adds to them would be an alarm."""
    user = {"username": "system:serviceaccount:kube-system:clusterrole-aggregation-controller"}
    about = a_reference(f"clusterroles.{RBAC}", "edit", "")
    role = a_role({"verbs": ["create"], "resources": ["pods/exec"]})

    assert judged(an_event(about, verb="patch", user=user, responseObject=role)).rule == "role-aggregation"
    assert judged(an_event(about, verb="patch", impersonatedUser=user, responseObject=role)).rule == "role-escalation"
