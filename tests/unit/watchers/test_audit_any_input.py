"""Any event and any body that the API server may post: hypothesis puts any value anywhere, or breaks the body."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.audit_events import RBAC, Json, a_binding, a_body, a_pod, a_reference, a_role, an_event, judged
from tests.support.builders.any_json import SETTINGS, changes, with_changes
from tests.support.corpus import CORPUS
from tests.support.stored_fields import faults_of
from watchers.audit import AUDIT
from watchers.audit.default_rules import FIRST_RULES, LAST_RULE, RULES
from zenwatch.errors import BadInput
from zenwatch.sdk.watcher import Verdict

pytestmark = pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisWarning")
NAMES = {rule.name for rule in (*FIRST_RULES, *RULES, LAST_RULE)}


def _real_events() -> Iterator[Json]:
    for file in sorted((CORPUS / "audit").glob("*.json")):
        document = json.loads(file.read_bytes())
        yield from document.get("items", [document])


SAMPLES: list[Json] = [
    an_event("secrets", verb="delete", impersonatedUser={"username": "bob", "groups": ["ops"]}),
    an_event("pods", verb="create", code=201, requestObject=a_pod(hostPID=True), responseObject=a_pod(securityContext={})),
    an_event(a_reference(f"roles.{RBAC}", "r"), verb="patch", requestObject=[{"op": "add", "path": "/rules/-", "value": {"verbs": ["*"]}}]),
    an_event(
        a_reference(f"clusterroles.{RBAC}", "r", ""), verb="update", responseObject=a_role({"verbs": ["*"], "resources": ["pods/exec"]})
    ),
    an_event(a_reference(f"rolebindings.{RBAC}", "r"), verb="create", code=201, requestObject=a_binding("cluster-admin")),
    an_event(a_reference("pods", subresource="exec"), stage="ResponseStarted", code=101),
    *_real_events(),
]


def _outcome(event: Any) -> Verdict | None:
    """None: the judge raised BadInput."""
    try:
        return judged(event)
    except BadInput:
        return None


def _check(event: Any) -> str:
    verdict = _outcome(event)
    if verdict is None:
        return "bad input"
    assert verdict.rule in NAMES
    assert faults_of([verdict.finding] if verdict.finding else []) == []
    assert _outcome(event) == verdict
    return "left out" if verdict.finding is None else "taken"


def test_any_event_is_bad_input_or_a_verdict_that_can_be_stored() -> None:
    """No other exception, no record that the API server would refuse, and no state."""
    outcomes: Counter[str] = Counter()

    @SETTINGS
    @given(st.sampled_from(SAMPLES), changes)
    def check(sample: Json, wanted: list[tuple[int, Any]]) -> None:
        outcomes[_check(with_changes(sample, wanted))] += 1

    check()
    assert min(outcomes.values()) > 15, f"nearly all examples have the same outcome, so they prove little ({outcomes})"
    assert len(outcomes) == 3


def test_any_body_is_bad_input_or_events() -> None:
    """Also a body that was cut or changed at any byte."""
    outcomes: Counter[str] = Counter()
    bodies = [a_body(*SAMPLES[:4]), json.dumps(SAMPLES[0]).encode(), a_body(*SAMPLES[4:6]).replace(b"alice", b"\\ud800")]
    noise = st.sampled_from([b"", b"{", b"}", b"[", b"]", b'"', b"\\", b",", b"\xff", b"\x00", b"null", b'{"a":' * 2000, b"\\ud800"])
    media_types = st.sampled_from(["application/json", "application/yaml"])

    @SETTINGS
    @given(st.sampled_from(bodies), st.integers(0, 10**6), noise, st.integers(0, 3), media_types)
    def check(body: bytes, position: int, noise: bytes, left_out: int, media_type: str) -> None:
        at = position % len(body)
        changed = body[:at] + noise + body[at + left_out :]
        try:
            events = list(AUDIT.decode(changed, media_type))
        except BadInput:
            outcomes["bad body"] += 1
        else:
            outcomes.update(_check(event) for event in events)

    check()
    assert outcomes["bad body"] > 30
    assert outcomes["taken"] > 30
