"""Watcher.regroup of Trivy and Kyverno, and sdk.fields.reassigned_to: a finding as it is said of the controller."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.support.builders.findings import a_finding
from tests.support.builders.vulnerability_reports import a_report, a_vulnerability
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
    """Kyverno's one finding of a result about the resource."""
    scope = {"apiVersion": resource.api_version, "kind": resource.kind, "name": resource.name, "namespace": resource.namespace}
    [finding] = KYVERNO.parse(a_policy_report(a_result(**changes), scope=scope))
    return finding


# ---------------------------------------------------------------- reassigned_to


def test_a_finding_moves_with_its_key_and_says_where_it_was() -> None:
    """The next Pod of the Deployment has the same key, and so the same record."""
    said = a_finding(resource=REPLICAS[1])

    assert reassigned_to(said, DEPLOYMENT) == replace(
        said,
        key="shop/Deployment/web/CVE-2026-1",
        resource=DEPLOYMENT,
        details={**said.details, "resources": ["Pod/web-5f4d8-x2x7q"]},
    )


def test_what_is_its_own_controller_does_not_move() -> None:
    """Its record says nothing of replicas."""
    said = a_finding(resource=DEPLOYMENT)

    assert reassigned_to(said, DEPLOYMENT) is said


@pytest.mark.parametrize("key", ["policy/default/Pod/nginx/x", "default/Pod/nginx", "default/Pod/nginx-2/x", ""])
def test_a_key_that_does_not_begin_with_the_resource_stays(key: str) -> None:
    """What it is made of, only its watcher knows."""
    said = a_finding(key=key)

    assert reassigned_to(said, DEPLOYMENT) is said


@SETTINGS
@given(resources, resources, st.lists(texts, min_size=1, max_size=3))
def test_moving_changes_the_resource_in_the_key_and_nothing_behind_it(reported: Resource, owner: Resource, parts: list[str]) -> None:
    """Whatever stands in names and parts, slashes too."""
    assume(reported != owner)

    found = reassigned_to(a_finding(resource=reported, key=key_of(reported, *parts)), owner)

    assert (found.key, found.resource) == (key_of(owner, *parts), owner)


# ---------------------------------------------------------------- the watchers


@pytest.mark.parametrize("watcher", [TRIVY, KYVERNO], ids=lambda watcher: watcher.name)
def test_regrouping_is_pure_and_idle_where_there_is_nothing_to_do(watcher: Watcher) -> None:
    """It is called for every finding, also where the resource is its own controller."""
    for report in SAMPLES[watcher.name]:
        for finding in watcher.parse(report):
            before = copy.deepcopy(finding)

            assert regrouped(watcher, finding, finding.resource) == finding
            assert regrouped(watcher, finding, DEPLOYMENT).key.startswith("shop/Deployment/web/")
            assert finding == before


def test_a_rollout_is_not_news_of_trivy() -> None:
    """Old and new ReplicaSet have a report each while the rollout goes on."""
    labels = {"trivy-operator.resource.kind": "ReplicaSet", "trivy-operator.resource.namespace": "shop"}
    reports = [
        a_report([a_vulnerability()], labels={**labels, "trivy-operator.resource.name": name}) for name in ("web-5f4d8", "web-7c9b6")
    ]

    found = [regrouped(TRIVY, finding, DEPLOYMENT) for report in reports for finding in TRIVY.parse(report)]

    assert {finding.key for finding in found} == {"shop/Deployment/web/CVE-2026-1"}
    assert [finding.details["resources"] for finding in found] == [["ReplicaSet/web-5f4d8"], ["ReplicaSet/web-7c9b6"]]


def test_a_deployment_and_its_replicas_break_one_rule() -> None:
    """Kyverno reports the Pod by the rule as written, and what makes Pods by rules that it made of it."""
    said = [violation(REPLICAS[1]), violation(REPLICAS[0], rule="autogen-check-team"), violation(DEPLOYMENT, rule="autogen-check-team")]

    found = [regrouped(KYVERNO, finding, DEPLOYMENT) for finding in said]

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
def test_the_rule_is_the_one_that_somebody_wrote(policy: str, rule: str, written: str) -> None:
    """Also where the resource stays; and whatever the policy is called: that of a namespace has a slash."""
    found = regrouped(KYVERNO, violation(DEPLOYMENT, policy=policy, rule=rule, message=""), DEPLOYMENT)

    assert (found.key, found.title) == (f"shop/Deployment/web/{policy}/{written}", f"{policy}/{written} failed")
    assert (found.details["policy"], found.details["rule"]) == (policy, written)


def test_a_policy_without_rules_only_moves() -> None:
    """Those of the CEL kinds have none."""
    found = regrouped(KYVERNO, violation(rule=None, message=""), DEPLOYMENT)

    assert (found.key, found.title) == ("shop/Deployment/web/require-labels/", "require-labels failed")
    assert "rule" not in found.details


@SETTINGS
@given(
    st.text("ab/-:", min_size=1, max_size=8),
    st.text("ab/-:", min_size=1, max_size=8),
    st.sampled_from(["", "autogen-", "autogen-cronjob-"]),
)
def test_the_three_names_of_a_rule_lead_to_one_key(policy: str, rule: str, prefix: str) -> None:
    """One record, whichever of them Kyverno reports by."""
    written, made = violation(policy=policy, rule=rule), violation(policy=policy, rule=prefix + rule)

    assert regrouped(KYVERNO, made, DEPLOYMENT) == regrouped(KYVERNO, written, DEPLOYMENT)
