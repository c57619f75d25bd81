"""watchers/audit/watcher.py and finding.py: the declaration and the findings. test_audit_rules.py has the rules."""

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.support.audit_events import ALICE, RBAC, a_binding, a_pod, a_reference, a_role, an_event, found, judged
from watchers.audit.finding import FINDING_TYPES
from watchers.audit.watcher import AUDIT, AuditSettings
from zenwatch.errors import BadInput
from zenwatch.model.finding import Category, Finding, FindingType, Resource, Severity

SECRET = a_reference("secrets", "token")
DELETION: dict[str, Any] = {"about": SECRET, "verb": "delete", "requestURI": "/api/v1/namespaces/shop/secrets/token?gracePeriodSeconds=0"}


def title_of(*args: Any, **changes: Any) -> str:
    return found(an_event(*args, **changes)).title


def test_an_event_that_a_rule_takes_becomes_a_finding() -> None:
    """Exactly the row of docs/records.md, "Details"."""
    assert found(an_event(**DELETION)) == Finding(
        type=FindingType("audit", "audit-", "resource-deletion", Category.COMPLIANCE),
        key="70607cf4-c644-4642-af31-0d9a173259fe",
        severity=Severity.LOW,
        title="alice deleted secrets shop/token",
        resource=Resource("v1", "Secret", "token", "shop"),
        details={
            "auditID": "70607cf4-c644-4642-af31-0d9a173259fe",
            "rule": "secret-deletion",
            "verb": "delete",
            "user": "alice",
            "groups": ["developers", "system:authenticated"],
            "sourceIPs": ["192.0.2.10"],
            "userAgent": "kubectl/v1.36.3 (linux/amd64) kubernetes/0000000",
            "responseCode": 200,
            "requestURI": "/api/v1/namespaces/shop/secrets/token",
            "objectRef": {"resource": "secrets", "namespace": "shop", "name": "token", "apiVersion": "v1"},
        },
        detected_at=datetime(2026, 1, 1, 10, 0, 0, 946487, UTC),
    )


def test_the_declaration() -> None:
    """docs/specification.md gives the path and the buffer. The API server posts again, and an event has a single ID."""
    settings = AuditSettings.read({}, prefix="AUDIT_")

    assert (AUDIT.name, AUDIT.path, AUDIT.settings) == ("audit", "/audit/webhook", AuditSettings)
    assert (AUDIT.sender_retries, AUDIT.counts_repeats, AUDIT.media_types[0]) == (True, False, "application/json")
    assert (settings.buffer_events, settings.max_body_bytes, settings.rules_file) == (200, 16 * 1024 * 1024, "")
    assert {finding_type.source for finding_type in FINDING_TYPES.values()} == {AUDIT.name}


def test_without_audit_events_msgspec_is_not_imported() -> None:
    """It costs 3 MB and 18 ms, and zenwatch prepares every watcher."""
    code = (
        "import sys; from watchers.audit.watcher import *; prepare(AuditSettings.read({}), SelfIdentity()); print('msgspec' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ended.stdout.strip() == "False"


@pytest.mark.parametrize("audit_id", [None, "", "  "])
def test_an_event_without_an_id_is_bad_input(audit_id: Any) -> None:
    """The ID is the key: without it, all such events would be the same record."""
    with pytest.raises(BadInput, match="auditID is missing"):
        judged(an_event(auditID=audit_id) if audit_id is not None else {"stage": "ResponseComplete"})


def test_an_event_without_a_stage_is_bad_input() -> None:
    """Nobody could know whether it is the last stage."""
    with pytest.raises(BadInput, match="stage is missing"):
        judged(an_event(stage=None))


# ---------------------------------------------------------------- titles


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (an_event(a_reference("secrets", "", ""), verb="list"), "alice listed secrets in all namespaces"),
        (an_event(a_reference("secrets", ""), verb="watch"), "alice watched secrets in shop"),
        (an_event(a_reference("namespaces", "shop", "shop"), verb="delete"), "alice deleted namespaces/shop"),
        (an_event(a_reference("nodes", "worker-1", ""), verb="delete"), "alice deleted nodes/worker-1"),
        (an_event(a_reference("flunders.example.com", "", ""), verb="deletecollection"), "alice deleted a collection of flunders"),
        (an_event(a_reference("pods", subresource="exec"), code=101), "alice ran a command in pods shop/web"),
        (an_event(a_reference("pods", subresource="portforward"), code=101), "alice forwarded a port of pods shop/web"),
        (
            an_event(a_reference("serviceaccounts", subresource="token"), verb="create", code=201),
            "alice made a token for serviceaccounts shop/web",
        ),
        (an_event(SECRET, code=403), "alice was refused to get secrets shop/token"),
        (an_event(SECRET, code=401, user=None), "somebody unknown was refused to get secrets shop/token"),
        (an_event(SECRET, impersonatedUser={"username": "bob"}), "alice as bob read secrets shop/token"),
        (
            an_event(SECRET, stage="Panic", verb="delete", code=500),
            "alice deleted secrets shop/token; the API server panicked, so it is not known whether this was done",
        ),
    ],
)
def test_a_title_states_who_did_what_to_which_resource(event: Any, title: str) -> None:
    """In a sentence, for a reader of a list."""
    assert found(event).title == title


def test_an_escalation_is_in_the_title_and_in_a_detail() -> None:
    """People search for the detail."""
    event = an_event(a_reference(f"clusterrolebindings.{RBAC}", "b", ""), verb="create", code=201, requestObject=a_binding("cluster-admin"))

    finding = found(event)

    assert finding.title == "alice created clusterrolebindings/b: binds cluster-admin"
    assert finding.details["escalation"] == "binds cluster-admin"


def test_a_system_role_with_more_rights_has_two_reasons() -> None:
    """That it is a role of Kubernetes, and the rights that it now grants."""
    role = a_role({"verbs": ["*"], "resources": ["*"]}, name="system:discovery")
    about = a_reference(f"clusterroles.{RBAC}", "system:discovery", "")

    finding = found(an_event(about, verb="update", requestObject=role))

    assert finding.details["escalation"] == "changes a role of Kubernetes itself; grants every verb, every resource"


# ---------------------------------------------------------------- details


def test_an_impersonated_request_names_both_users() -> None:
    """The user is the impersonated user. impersonatedBy is the user who sent the request."""
    details = found(an_event(SECRET, impersonatedUser={"username": "bob", "groups": ["ops"]})).details

    assert (details["user"], details["groups"], details["impersonatedBy"]) == ("bob", ["ops"], ALICE["username"])


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/api/v1/namespaces/shop/pods/web/exec?command=cat&command=/etc/shadow", "/api/v1/namespaces/shop/pods/web/exec"),
        ("/api/v1/namespaces/shop/services/web:80/proxy/login/hunter2?token=abc", "/api/v1/namespaces/shop/services/web:80/proxy/…"),
        ("/api/v1/nodes/worker-1/proxy", "/api/v1/nodes/worker-1/proxy"),
        ("/api/v1/namespaces/proxy/secrets/token", "/api/v1/namespaces/proxy/secrets/token"),
    ],
)
def test_only_the_path_of_the_uri_is_kept(uri: str, path: str) -> None:
    """A query may hold commands and tokens, and so may a path that the API server passes on to a pod."""
    assert found(an_event(**DELETION | {"requestURI": uri})).details["requestURI"] == path


def test_text_that_looks_like_a_credential_is_redacted() -> None:
    """The client chooses the text of its user agent."""
    token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"  # noqa: S105  of nobody

    assert token not in repr(found(an_event(**DELETION | {"userAgent": f"tool/1 Bearer {token}", "user": {"username": token}})))


def test_a_pods_generated_name_comes_from_the_answer() -> None:
    """A controller creates pods with only a generateName."""
    pod = a_pod(hostNetwork=True)
    event = an_event(a_reference("pods", ""), verb="create", code=201, responseObject=pod)

    assert found(event).resource == Resource("v1", "Pod", "web-x2x8k", "shop")


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("networkpolicies.networking.k8s.io", Resource("networking.k8s.io/v1", "NetworkPolicy", "web", "shop")),
        ("ingresses.networking.k8s.io", Resource("networking.k8s.io/v1", "Ingress", "web", "shop")),
        ("endpoints", Resource("v1", "Endpoints", "web", "shop")),
        ("deployments.apps", Resource("apps/v1", "Deployment", "web", "shop")),
        ("pods.metrics.k8s.io", Resource("metrics.k8s.io/v1", "pods", "web", "shop")),
        ("flunders.example.com", Resource("example.com/v1", "flunders", "web", "shop")),
    ],
)
def test_the_resource_has_its_kind_if_the_kind_is_known(resource: str, expected: Resource) -> None:
    """Events name the plural. The same plural in another group is another kind."""
    assert found(an_event(resource, verb="delete")).resource == expected


def test_a_request_for_a_path_has_no_resource() -> None:
    """The event has only the path."""
    user = {"username": "system:anonymous", "groups": ["system:unauthenticated"]}
    finding = found(an_event(None, user=user, requestURI="/metrics?x=1"))

    assert (finding.resource, finding.title) == (Resource(), "system:anonymous read /metrics")
    assert "objectRef" not in finding.details


@pytest.mark.parametrize(
    ("times", "second"),
    [
        ({}, 0),
        ({"requestReceivedTimestamp": None}, 1),
        ({"requestReceivedTimestamp": None, "stageTimestamp": None, "timestamp": "2026-01-01T10:00:02Z"}, 2),
    ],
)
def test_the_time_is_the_time_of_the_request(times: dict[str, Any], second: int) -> None:
    """v1beta1 had a field of its own. The time of the stage differs only for long requests."""
    moment = found(an_event(**DELETION, **times)).detected_at

    assert moment is not None
    assert moment.replace(microsecond=0) == datetime(2026, 1, 1, 10, 0, second, tzinfo=UTC)


# ---------------------------------------------------------------- claims


@pytest.mark.parametrize(
    ("document", "is_claimed"),
    [
        ({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": []}, True),
        ({"kind": "EventList", "apiVersion": "audit.k8s.io/v1beta1"}, True),
        ({"kind": "Event", "apiVersion": "audit.k8s.io/v1"}, True),
        ({"kind": "Event", "auditID": "a", "stage": "Panic"}, True),
        ({"auditID": "a", "stage": "Panic"}, True),
        ({"auditID": "a"}, False),
        ({"kind": "EventList", "apiVersion": "v1", "items": []}, False),
        ({"kind": "Event", "apiVersion": "v1", "auditID": "a", "stage": "Panic"}, False),
        ({"kind": "Event", "apiVersion": "events.k8s.io/v1"}, False),
        ({"kind": "Pod", "auditID": "a", "stage": "Panic"}, False),
        ({"kind": ["Event"], "apiVersion": 7}, False),
        ([], False),
        (None, False),
    ],
)
def test_claims_tells_audit_events_from_other_documents(document: Any, is_claimed: Any) -> None:
    """Kubernetes has two other kinds called Event."""
    assert AUDIT.claims(document) is is_claimed
