"""Audit events hold the values of secrets. No value leaves the watcher, whatever happens to the event."""

import json
from typing import Any

import pytest

from tests.support.audit_events import RBAC, Json, a_body, a_pod, a_reference, a_role, an_event, verdicts
from watchers.audit import AUDIT
from zenwatch.errors import BadInput

# Too long to occur by chance, and in no form that redaction recognises.
PLANTED = [f"planted-{number:02}-value" for number in range(20)]
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJwbGFudGVkIn0.cGxhbnRlZC1zaWduYXR1cmU"


def planted(number: int) -> str:
    return PLANTED[number]


def a_secret(value: str, **more: Any) -> Json:
    return {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": "token", "annotations": {"last": value}},
        "data": {"a": value},
    } | more


EVENTS = [
    an_event("secrets", verb="create", code=201, requestObject=a_secret(planted(0)), responseObject=a_secret(planted(1))),
    an_event("secrets", verb="patch", requestObject=[{"op": "add", "path": "/data/a", "value": planted(2)}]),
    an_event("secrets", verb="get", responseObject=a_secret(planted(3), stringData={"b": planted(4)})),
    an_event("secrets", verb="list", responseObject={"kind": "SecretList", "items": [a_secret(planted(5))]}),
    an_event("secrets", verb="delete", requestObject=a_secret(planted(6)), responseObject=a_secret(planted(7))),
    an_event("configmaps", verb="delete", responseObject={"kind": "ConfigMap", "data": {"key": planted(8)}}),
    an_event(
        a_reference("serviceaccounts", subresource="token"),
        verb="create",
        code=201,
        requestObject={"kind": "TokenRequest", "spec": {"audiences": [planted(9)]}},
        responseObject={"kind": "TokenRequest", "status": {"token": planted(10)}},
    ),
    an_event("secrets", verb="update", annotations={"example.com/reason": planted(11)}),
    an_event(a_reference("pods", subresource="exec"), code=101, requestURI=f"/api/v1/namespaces/shop/pods/web/exec?command={planted(12)}"),
    an_event("secrets", verb="delete", requestURI=f"/api/v1/namespaces/shop/services/web/proxy/{planted(13)}?a=b"),
    an_event("secrets", verb="delete", userAgent=f"tool/1 token={planted(14)}"),
    an_event(
        "pods",
        verb="create",
        code=201,
        requestObject=a_pod(containers=[{"name": "web", "command": [planted(15)], "securityContext": {"privileged": True}}]),
        responseObject=a_pod(
            containers=[{"name": "web", "env": [{"name": "A", "value": planted(16)}], "securityContext": {"privileged": True}}]
        ),
    ),
    an_event(
        a_reference(f"clusterroles.{RBAC}", "r", ""),
        verb="update",
        requestObject=a_role({"verbs": ["*"], "resourceNames": [planted(17)]}) | {"metadata": {"annotations": {"a": planted(18)}}},
    ),
    an_event("secrets", code=403, responseStatus={"code": 403, "message": planted(19), "reason": planted(19)}),
]


def test_twenty_planted_values_are_in_no_finding() -> None:
    """They are in objects, annotations, messages, URIs and user agents. Every one of these events becomes a finding."""
    body = a_body(*EVENTS)
    assert [value for value in PLANTED if value not in body.decode()] == []

    judged = verdicts(body)

    assert [verdict.rule for verdict in judged if verdict.finding is None] == []
    assert [value for value in PLANTED if value in repr(judged)] == []


def test_text_that_looks_like_a_credential_is_redacted_in_every_field() -> None:
    """A token as a user name, in a path, and in a user agent."""
    user = {"username": JWT, "groups": [JWT]}
    event = an_event(
        "secrets", verb="delete", user=user, impersonatedUser=user, userAgent=f"x Bearer {JWT}", requestURI=f"/api/{JWT}/x?a={JWT}"
    )

    assert JWT not in repr(verdicts(a_body(event)))


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: f"{event['verb']}-{event['objectRef']['resource']}")
def test_an_error_about_an_event_quotes_no_value(event: Json) -> None:
    """Errors go to the log and to the sender."""
    wrong: list[Any] = [
        {"verb": [PLANTED]},
        {"user": PLANTED[0]},
        {"responseStatus": {"code": PLANTED[1]}},
        {"auditID": None},
        {"stage": None},
    ]
    for change in wrong:
        with pytest.raises(BadInput) as refused:
            verdicts(a_body(event | change))
        assert "planted" not in str(refused.value)


@pytest.mark.parametrize("media_type", ["application/json", "application/yaml"])
def test_an_error_about_a_body_quotes_no_value(media_type: str) -> None:
    """The body is cut off at any byte: libraries quote the text around an error."""
    body = json.dumps({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": EVENTS[:2]}).encode()
    for length in range(0, len(body) - 1, 7):
        with pytest.raises(BadInput) as refused:
            list(AUDIT.decode(body[:length], media_type))
        assert "planted" not in str(refused.value)
