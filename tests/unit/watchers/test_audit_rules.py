"""watchers/audit/default_rules.py: the requests that become records, their severities, and the requests that are left out."""

import itertools
from typing import Any

import pytest

from tests.support.audit_events import ANYBODY, KUBELET, OWN_ACCOUNT, RBAC, Json, a_binding, a_pod, a_reference, a_role, an_event, judged
from watchers.audit.default_rules import FIRST_RULES, LAST_RULE, RULES
from watchers.audit.finding import FINDING_TYPES
from watchers.audit.request import QUESTIONS
from watchers.audit.rules import Rule, Rules
from zenwatch.sdk.watcher import SelfIdentity

ALL_RULES = (*FIRST_RULES, *RULES, LAST_RULE)
CLUSTER_ROLE, BINDING = a_reference(f"clusterroles.{RBAC}", "reader", ""), a_reference(f"rolebindings.{RBAC}", "reader")
SECRET, SECRETS = a_reference("secrets", "token"), a_reference("secrets", "", "")
EXEC = a_reference("pods", subresource="exec")
EPHEMERAL = a_reference("pods", subresource="ephemeralcontainers")
TOKEN = a_reference("serviceaccounts", "builder", subresource="token")
PRIVILEGED = [{"name": "web", "securityContext": {"privileged": True}}]
AGGREGATOR = {"username": "system:serviceaccount:kube-system:clusterrole-aggregation-controller", "groups": []}
EVERYTHING = a_role({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]})


def a_write(reference: Any, sent: Any = None, **changes: Any) -> Json:
    return an_event(reference, **{"verb": "create", "code": 201, "requestObject": sent} | changes)


# For every rule: how zenwatch stores the event (empty: not at all), and an event that the rule decides.
TABLE: list[tuple[str, str, Json]] = [
    ("not-final-stage", "", an_event(SECRET, verb="delete", stage="RequestReceived", code=None)),
    ("dry-run", "", an_event(SECRET, verb="patch", requestURI="/api/v1/namespaces/shop/secrets/token?dryRun=All")),
    ("own-write", "", an_event("zenagentevents.zen.kube-zen.io", verb="delete", user={"username": OWN_ACCOUNT})),
    ("control-plane-read", "", an_event(SECRET, user=KUBELET)),
    (
        "rbac-bootstrap",
        "",
        an_event(a_reference(f"clusterroles.{RBAC}", "system:node", ""), verb="update", user={"username": "system:apiserver"}),
    ),
    ("lease", "", an_event("leases.coordination.k8s.io", verb="delete")),
    ("cluster-event", "", an_event("events.events.k8s.io", verb="deletecollection")),
    ("discovery", "", an_event(None, user=ANYBODY, requestURI="/livez?verbose")),
    ("system-role-deletion", "CRITICAL resource-deletion", an_event(a_reference(f"roles.{RBAC}", "system:x"), verb="delete")),
    ("system-role-change", "CRITICAL rbac-change", an_event(a_reference(f"clusterroles.{RBAC}", "system:x", ""), verb="patch")),
    ("secrets-of-all-namespaces", "CRITICAL secret-access", an_event(SECRETS, verb="list")),
    ("cluster-admin-binding", "HIGH rbac-change", a_write(BINDING, a_binding("cluster-admin", "RoleBinding"))),
    ("role-aggregation", "LOW rbac-change", an_event(CLUSTER_ROLE, verb="patch", user=AGGREGATOR, responseObject=EVERYTHING)),
    ("role-escalation", "HIGH rbac-change", a_write(CLUSTER_ROLE, EVERYTHING)),
    ("privileged-pod", "HIGH privileged-pod-creation", a_write("pods", a_pod(containers=PRIVILEGED))),
    ("host-namespace-pod", "HIGH privileged-pod-creation", a_write("pods", a_pod(hostIPC=True))),
    (
        "privileged-ephemeral-container",
        "HIGH privileged-pod-creation",
        an_event(EPHEMERAL, verb="patch", requestObject=a_pod(ephemeralContainers=PRIVILEGED)),
    ),
    ("pod-stream", "MEDIUM pod-exec", an_event(EXEC, stage="ResponseStarted", code=101)),
    ("ephemeral-container", "MEDIUM pod-exec", an_event(EPHEMERAL, verb="patch")),
    ("access-denied", "MEDIUM access-denied", an_event(BINDING, verb="delete", code=403)),
    ("anonymous-deletion", "MEDIUM resource-deletion", an_event("pods", verb="delete", user=ANYBODY)),
    ("anonymous-access", "MEDIUM anonymous-access", an_event("pods", user=ANYBODY)),
    ("token-for-another", "MEDIUM secret-access", a_write(TOKEN)),
    ("secret-deletion", "LOW resource-deletion", an_event(SECRET, verb="delete")),
    ("rbac-deletion", "LOW resource-deletion", an_event(BINDING, verb="deletecollection")),
    ("secret-write", "LOW secret-access", an_event(SECRET, verb="update")),
    ("secret-read", "LOW secret-access", an_event(SECRET)),
    ("rbac-change", "LOW rbac-change", a_write(BINDING, a_binding("view", "RoleBinding"))),
    ("deletion", "INFO resource-deletion", an_event("pods", verb="delete")),
    ("unimportant", "", an_event("pods")),
]


def rule_of(event: Any, **self_identity: Any) -> str:
    return judged(event, **self_identity).rule


@pytest.mark.parametrize(("rule", "stored", "event"), TABLE, ids=[rule for rule, _, _ in TABLE])
def test_every_rule_decides_its_example(rule: str, stored: str, event: Json) -> None:
    """And gives it the expected severity and eventType."""
    verdict = judged(event)

    assert verdict.rule == rule
    assert verdict.why == next(one.sentence for one in ALL_RULES if one.name == rule)
    finding = verdict.finding
    assert (f"{finding.severity.value} {finding.type.event_type}" if finding else "") == stored
    assert finding is None or finding.details["rule"] == rule


def test_every_rule_has_an_example() -> None:
    """The table above has the order of the rules."""
    assert [rule for rule, _, _ in TABLE] == [rule.name for rule in ALL_RULES]


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: rule.name)
def test_a_rule_is_a_sentence_and_conditions(rule: Rule) -> None:
    """--explain prints the sentence. A misspelt condition would never hold."""
    assert rule.sentence.endswith(".")
    assert set(rule.when) <= QUESTIONS.keys()
    assert (rule.event_type in FINDING_TYPES) is rule.take


def test_rules_with_worse_severities_come_first() -> None:
    """If several rules match, the first decides. role-aggregation is the exception: it must precede role-escalation."""
    ranks = [rule.severity.rank for rule in RULES if rule.take and rule.name != "role-aggregation"]

    assert ranks == sorted(ranks)


# ---------------------------------------------------------------- stages


@pytest.mark.parametrize(
    ("final", "others"),
    [
        (an_event(SECRET, verb="delete"), [an_event(SECRET, verb="delete", stage="RequestReceived", code=None)]),
        (
            an_event(SECRETS, verb="watch"),
            [
                an_event(SECRETS, verb="watch", stage=stage, code=code)
                for stage, code in (("RequestReceived", None), ("ResponseStarted", 200))
            ],
        ),
        (an_event(EXEC, stage="ResponseStarted", code=101), [an_event(EXEC, stage="RequestReceived", code=None)]),
        (an_event(SECRET, verb="delete", stage="Panic", code=500), [an_event(SECRET, verb="delete", stage="RequestReceived", code=None)]),
        (an_event(SECRET, user=None, stage="ResponseStarted", code=401), []),
    ],
    ids=["complete", "watch", "stream", "panic", "unauthenticated"],
)
def test_a_single_stage_of_a_request_is_stored_in_any_order(final: Json, others: list[Json]) -> None:
    """The API server posts batches concurrently. A request without authentication ends with ResponseStarted."""
    for stages in itertools.permutations([final, *others]):
        taken = [stage for stage in stages if judged(stage).finding is not None]
        assert taken == [final]


def test_the_end_of_a_stream_is_the_same_event() -> None:
    """ResponseComplete follows at the end of the session with the same ID, so it is the same record."""
    start, end = judged(an_event(EXEC, stage="ResponseStarted", code=101)), judged(an_event(EXEC, code=101))

    assert start == end


def test_a_refused_exec_is_no_exec() -> None:
    """It has the stages ResponseStarted and ResponseComplete, both with the code 400."""
    assert [rule_of(an_event(EXEC, stage=stage, code=400)) for stage in ("ResponseStarted", "ResponseComplete")] == [
        "not-final-stage",
        "unimportant",
    ]


@pytest.mark.parametrize("event", [an_event(SECRET, verb="delete", code=None), an_event(SECRET, verb="delete", stage="Panic", code=500)])
def test_a_request_without_an_outcome_counts_as_a_success(event: Json) -> None:
    """Unknown is not harmless."""
    assert rule_of(event) == "secret-deletion"


@pytest.mark.parametrize("code", [400, 404, 409, 422, 500, 503])
@pytest.mark.parametrize("verb", ["delete", "create", "get"])
def test_a_failed_request_is_not_stored(code: int, verb: str) -> None:
    """With 404 nothing was deleted, with 409 nothing was created. (401 and 403 are access-denied.)"""
    assert rule_of(an_event(SECRET, verb=verb, code=code)) == "unimportant"


# ---------------------------------------------------------------- users


COMPONENTS = (
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:kube-proxy",
    "system:node:worker-1",
    "system:serviceaccount:kube-system:generic-garbage-collector",
)


@pytest.mark.parametrize("name", COMPONENTS)
@pytest.mark.parametrize("verb", ["get", "list", "watch"])
def test_reads_of_the_control_plane_are_left_out(name: str, verb: str) -> None:
    """Also reads of all secrets, and refused reads."""
    groups = ["system:nodes"] if ":node:" in name else ["system:authenticated"]

    assert rule_of(an_event(SECRETS, verb=verb, user={"username": name, "groups": groups})) == "control-plane-read"
    assert rule_of(an_event(SECRET, verb=verb, code=403, user={"username": name, "groups": groups})) == "control-plane-read"


@pytest.mark.parametrize(
    "user",
    [
        {"username": "system:admin", "groups": ["system:masters"]},
        {"username": "system:serviceaccount:kube-systems:x"},
        {"username": "system:kube-schedulers"},
        {"username": "system:node:worker-1", "groups": ["system:authenticated"]},
        {"username": "aksService", "groups": ["system:masters"]},
        {},
        None,
    ],
)
def test_reads_of_other_users_are_stored(user: Any) -> None:
    """A name that resembles that of a component is not enough; nor is the role of an administrator."""
    assert rule_of(an_event(SECRET, user=user)) == "secret-read"


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_user_who_impersonates_a_component_is_no_component(name: str) -> None:
    """As with kubectl --as=system:apiserver get secrets."""
    assert rule_of(an_event(SECRETS, verb="list", impersonatedUser={"username": name})) == "secrets-of-all-namespaces"


def test_a_component_that_impersonates_a_user_counts_as_that_user() -> None:
    """An aggregating proxy does this for its users."""
    verdict = judged(an_event(SECRET, user=KUBELET, impersonatedUser={"username": "bob"}))

    assert verdict.rule == "secret-read"
    assert verdict.finding is not None
    assert (verdict.finding.details["user"], verdict.finding.details["impersonatedBy"]) == ("bob", KUBELET["username"])


def test_writes_and_streams_of_the_control_plane_are_stored() -> None:
    """Only its reads are noise. An exec of kubectl is also a GET."""
    component = {"username": "system:serviceaccount:kube-system:x"}

    assert rule_of(an_event(SECRET, verb="update", user=component)) == "secret-write"
    assert rule_of(an_event(EXEC, verb="get", code=101, stage="ResponseStarted", user=component)) == "pod-stream"


def test_writes_of_default_roles_are_left_out_only_for_the_api_server() -> None:
    """It writes them at every start."""
    role = a_reference(f"clusterroles.{RBAC}", "system:node", "")

    assert rule_of(an_event(role, verb="create", user={"username": "system:apiserver"})) == "rbac-bootstrap"
    assert rule_of(an_event(role, verb="create", impersonatedUser={"username": "system:apiserver"})) == "system-role-change"


@pytest.mark.parametrize(
    ("event", "own_account", "rule"),
    [
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete", user={"username": OWN_ACCOUNT}), OWN_ACCOUNT, "own-write"),
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete"), OWN_ACCOUNT, "deletion"),
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete", userAgent="zenwatch/1"), OWN_ACCOUNT, "deletion"),
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete", userAgent="zenwatch/1"), "", "own-write"),
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete", userAgent="zenwatch"), "", "own-write"),
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete", userAgent="zenwatcher/1"), "", "deletion"),
        (an_event("zenagentevents.zen.kube-zen.io", verb="delete", user=None, userAgent=None), "", "deletion"),
        (
            an_event("zenagentevents.zen.kube-zen.io", verb="delete", impersonatedUser={"username": OWN_ACCOUNT}),
            OWN_ACCOUNT,
            "deletion",
        ),
        (an_event(SECRET, verb="delete", user={"username": OWN_ACCOUNT}), OWN_ACCOUNT, "secret-deletion"),
    ],
)
def test_only_zenwatchs_own_writes_of_records_are_left_out(event: Json, own_account: str, rule: str) -> None:
    """Deletions of records by others matter. Until the API server has answered with our user name, the user agent decides."""
    assert rule_of(event, own_account=own_account) == rule


@pytest.mark.parametrize(
    ("user", "path", "rule"),
    [
        (ANYBODY, "/healthz", "discovery"),
        (ANYBODY, "/readyz/etcd?verbose", "discovery"),
        (ANYBODY, "/version", "discovery"),
        (ANYBODY, "/version/", "discovery"),
        (ANYBODY, "/api", "discovery"),
        (ANYBODY, "/api/v1", "discovery"),
        (ANYBODY, "/apis/apps/v1", "discovery"),
        (ANYBODY, "/openapi/v3/apis/apps/v1", "discovery"),
        (ANYBODY, "/.well-known/openid-configuration", "discovery"),
        (ANYBODY, "/openid/v1/jwks", "discovery"),
        (ANYBODY, "/metrics", "anonymous-access"),
        (ANYBODY, "/logs/", "anonymous-access"),
        (ANYBODY, "/apis/apps/v1/namespaces", "anonymous-access"),
        (ANYBODY, "/healthzz", "anonymous-access"),
        (ANYBODY, "/", "anonymous-access"),
        ({"groups": ["system:unauthenticated"]}, "/metrics", "anonymous-access"),
        ({"username": "bob", "groups": ["system:unauthenticated"]}, "/metrics", "unimportant"),
        ({"username": "bob"}, "/metrics", "unimportant"),
    ],
)
def test_anonymous_requests_outside_the_open_paths_are_stored(user: Json, path: str, rule: str) -> None:
    """By default only health, version and discovery are open to everybody."""
    assert rule_of(an_event(None, user=user, requestURI=path)) == rule


def test_an_anonymous_request_is_stored_whatever_its_resource() -> None:
    """Also for Kubernetes Events, which are noise from other users. A refused request is not stored."""
    assert rule_of(an_event("events", verb="list", user=ANYBODY)) == "anonymous-access"
    assert rule_of(an_event("pods", user=ANYBODY, requestURI="/healthz")) == "anonymous-access"
    assert rule_of(an_event("pods", user=ANYBODY, code=403)) == "unimportant"
    assert rule_of(an_event("pods", impersonatedUser=ANYBODY)) == "unimportant"


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (a_write(TOKEN, user={"username": "system:serviceaccount:shop:builder"}), "unimportant"),
        (a_write(TOKEN, user=KUBELET), "unimportant"),
        (a_write(TOKEN, user={"username": "system:serviceaccount:other:builder"}), "token-for-another"),
        (a_write(TOKEN, impersonatedUser={"username": "system:serviceaccount:shop:builder"}), "token-for-another"),
        (a_write(TOKEN, code=403), "unimportant"),
    ],
)
def test_a_token_for_another_account_is_stored(event: Json, rule: str) -> None:
    """An account may ask for its own token, and the kubelet asks for the tokens of its pods."""
    assert rule_of(event) == rule


# ---------------------------------------------------------------- dry runs


DRY = "/api/v1/namespaces/shop/secrets/token?dryRun=All"


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (an_event(SECRET, verb="create", requestURI=f"{DRY}&fieldManager=x"), "dry-run"),
        (an_event(SECRET, verb="deletecollection", requestURI="/x?a=b&dryRun=%41ll"), "dry-run"),
        (an_event(SECRET, verb="delete", requestObject={"kind": "DeleteOptions", "dryRun": ["All"]}), "dry-run"),
        # If there are options, the API server ignores the URI.
        (an_event(SECRET, verb="delete", requestURI=DRY, requestObject={"kind": "DeleteOptions"}), "secret-deletion"),
        (an_event(SECRET, verb="patch", requestURI="/x?fieldManager=dryRun=All"), "secret-write"),
        (an_event(SECRET, verb="patch", requestURI="/x?dryRun="), "secret-write"),
        (an_event(SECRET, verb="patch", requestURI="/dryRun=All"), "secret-write"),
        (an_event(SECRET, requestURI=DRY), "secret-read"),
        (an_event(EXEC, verb="create", code=101, requestURI="/x?dryRun=All"), "pod-stream"),
        (a_write(TOKEN, requestURI="/x?dryRun=All"), "token-for-another"),
    ],
)
def test_only_a_dry_run_that_the_api_server_obeys_is_left_out(event: Json, rule: str) -> None:
    """A query must not hide a request."""
    assert rule_of(event) == rule


# ---------------------------------------------------------------- sorts of requests


def test_the_number_of_remembered_sorts_is_bounded() -> None:
    """A sender can make up any number. The verdicts stay the same."""
    import watchers.audit.rules as module  # noqa: PLC0415
    from watchers.audit.body import request_of  # noqa: PLC0415

    rules = Rules(ALL_RULES, SelfIdentity())
    for number in range(module.MOST_SORTS + 10):
        assert rules.decide(request_of(an_event(f"secrets{number}"))).name == "unimportant"
    assert rules.decide(request_of(an_event("x" * 10_000, verb="delete"))).name == "deletion"
    assert rules.decide(request_of(an_event(SECRET))).name == "secret-read"

    assert 0 < len(rules._by_sort) <= module.MOST_SORTS
    assert max(len(sort[1]) for sort in rules._by_sort) < 1000
