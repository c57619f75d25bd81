"""Watcher.regroup of Trivy and Kyverno, and sdk.fields.reassigned_to: findings about replicas become findings about controllers."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.builders.findings import a_finding
from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
from tests.support.parsed import whole
from tests.support.payloads import SAMPLES, a_policy_report, a_result
from watchers.kyverno import KYVERNO
from watchers.trivy import TRIVY
from zenwatch.model.finding import Finding, Resource
from zenwatch.sdk.fields import key_of, reassigned_to
from zenwatch.sdk.watcher import Watcher

SETTINGS = settings(max_examples=200, deadline=None, derandomize=True, database=None)
DEPLOYMENT = Resource("apps/v1", "Deployment", "web", "shop")
REPLICAS = [Resource("apps/v1", "ReplicaSet", "web-5f4d8", "shop"), Resource("v1", "Pod", "web-5f4d8-x2x7q", "shop")]

texts = st.text("ab/-.: ", max_size=8)
resources = st.builds(Resource, api_version=texts, kind=texts, name=texts, namespace=texts)


def regrouped(watcher: Watcher, finding: Finding, owner: Resource) -> Finding:
    assert watcher.regroup is not None
    return watcher.regroup(finding, owner)


def violation(resource: Resource = REPLICAS[1], **changes: Any) -> Finding:
    """Kyverno's only finding of a result about the resource."""
    scope = {"apiVersion": resource.api_version, "kind": resource.kind, "name": resource.name, "namespace": resource.namespace}
    [finding] = whole(KYVERNO.parse(a_policy_report(a_result(**changes), scope=scope)))
    return finding


# ---------------------------------------------------------------- reassigned_to


def test_a_reassigned_finding_has_a_new_key_and_lists_the_former_resource() -> None:
    """The next Pod of the Deployment has the same key, and so the same record."""
    reported = a_finding(resource=REPLICAS[1])

    assert reassigned_to(reported, DEPLOYMENT) == replace(
        reported,
        key="shop/Deployment/web/CVE-2026-1",
        resource=DEPLOYMENT,
        details={**reported.details, "resources": ["Pod/web-5f4d8-x2x7q"]},
    )


def test_a_finding_about_the_controller_itself_does_not_change() -> None:
    """Its record lists no replicas."""
    reported = a_finding(resource=DEPLOYMENT)

    assert reassigned_to(reported, DEPLOYMENT) is reported


@pytest.mark.parametrize("key", ["policy/default/Pod/nginx/x", "default/Pod/nginx", "default/Pod/nginx-2/x", ""])
def test_a_finding_whose_key_does_not_begin_with_the_resource_does_not_change(key: str) -> None:
    """Only its watcher knows the parts of such a key."""
    reported = a_finding(key=key)

    assert reassigned_to(reported, DEPLOYMENT) is reported


@SETTINGS
@given(resources, resources, st.lists(texts, min_size=1, max_size=3))
def test_reassigning_changes_only_the_resource_in_the_key(reported: Resource, owner: Resource, parts: list[str]) -> None:
    """For any names and parts, also with slashes."""
    assume(reported != owner)

    found = reassigned_to(a_finding(resource=reported, key=key_of(reported, *parts)), owner)

    assert (found.key, found.resource) == (key_of(owner, *parts), owner)


# ---------------------------------------------------------------- the watchers


@pytest.mark.parametrize("watcher", [TRIVY, KYVERNO], ids=lambda watcher: watcher.name)
def test_regrouping_is_pure_and_changes_nothing_without_a_controller(watcher: Watcher) -> None:
    """zenwatch calls it for every finding, also with the resource itself."""
    for report in SAMPLES[watcher.name]:
        for finding in whole(watcher.parse(report)):
            before = copy.deepcopy(finding)

            assert regrouped(watcher, finding, finding.resource) == finding
            assert regrouped(watcher, finding, DEPLOYMENT).key.startswith("shop/Deployment/web/")
            assert finding == before


def test_a_rollout_makes_no_new_findings_of_trivy() -> None:
    """During the rollout the old and the new ReplicaSet have a report each."""
    labels = {"trivy-operator.resource.kind": "ReplicaSet", "trivy-operator.resource.namespace": "shop"}
    reports = [
        a_report([a_vulnerability()], labels={**labels, "trivy-operator.resource.name": name}) for name in ("web-5f4d8", "web-7c9b6")
    ]

    found = [regrouped(TRIVY, finding, DEPLOYMENT) for report in reports for finding in whole(TRIVY.parse(report))]

    assert {finding.key for finding in found} == {"shop/Deployment/web/CVE-2026-1"}
    assert [finding.details["resources"] for finding in found] == [["ReplicaSet/web-5f4d8"], ["ReplicaSet/web-7c9b6"]]


def test_a_deployment_and_its_replicas_break_the_same_rule() -> None:
    """Kyverno names the written rule for a Pod, and derived rules for the controllers of Pods."""
    derived = "autogen-check-team"
    violations = [violation(REPLICAS[1]), violation(REPLICAS[0], rule=derived), violation(DEPLOYMENT, rule=derived)]

    found = [regrouped(KYVERNO, finding, DEPLOYMENT) for finding in violations]

    assert {(finding.key, finding.title, finding.resource, finding.details["rule"]) for finding in found} == {
        ("shop/Deployment/web/require-labels/check-team", "require-labels/check-team: Every Pod has a team.", DEPLOYMENT, "check-team")
    }
    assert [finding.details.get("resources") for finding in found] == [["Pod/web-5f4d8-x2x7q"], ["ReplicaSet/web-5f4d8"], None]


@pytest.mark.parametrize(
    ("rule", "written"),
    [
        ("autogen-check-team", "check-team"),
        ("autogen-cronjob-check-team", "check-team"),
        ("autogen-cronjob", "cronjob"),
        ("autogen-", "autogen-"),
        ("my-autogen-check", "my-autogen-check"),
        ("Autogen-check", "Autogen-check"),
        ("check-team", "check-team"),
    ],
)
@pytest.mark.parametrize("policy", ["require-labels", "shop/require-labels", "autogen-x/autogen-x"])
def test_the_rule_is_the_rule_of_the_policys_author(policy: str, rule: str, written: str) -> None:
    """Also if the resource does not change, and for any name of the policy: a namespaced policy has a slash."""
    found = regrouped(KYVERNO, violation(DEPLOYMENT, policy=policy, rule=rule, message=""), DEPLOYMENT)

    assert (found.key, found.title) == (f"shop/Deployment/web/{policy}/{written}", f"{policy}/{written} failed")
    assert (found.details["policy"], found.details["rule"]) == (policy, written)


def test_a_finding_without_a_rule_changes_only_its_resource() -> None:
    """Policies of the CEL kinds have no rules."""
    found = regrouped(KYVERNO, violation(rule=None, message=""), DEPLOYMENT)

    assert (found.key, found.title) == ("shop/Deployment/web/require-labels/", "require-labels failed")
    assert "rule" not in found.details


@SETTINGS
@given(
    st.text("ab/-:", min_size=1, max_size=8),
    st.text("ab/-:", min_size=1, max_size=8),
    st.sampled_from(["", "autogen-", "autogen-cronjob-"]),
)
def test_the_three_names_of_a_rule_lead_to_the_same_key(policy: str, rule: str, prefix: str) -> None:
    """So there is a single record, whichever name Kyverno reports."""
    written, made = violation(policy=policy, rule=rule), violation(policy=policy, rule=prefix + rule)

    assert regrouped(KYVERNO, made, DEPLOYMENT) == regrouped(KYVERNO, written, DEPLOYMENT)
