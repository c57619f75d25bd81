"""The permissions that doctor checks, and the rules that it prints for those that are missing."""

from typing import Any

import pytest
import yaml

from tests.support.doctor_cluster import FakeCluster, diagnose
from tests.support.paths import ROOT
from zenwatch.doctor.cluster.permissions import Permission
from zenwatch.doctor.cluster.rbac import advice, phrase, rules_yaml
from zenwatch.doctor.sources.reports import read_needs
from zenwatch.doctor.store.access import store_needs
from zenwatch.doctor.store.options import CLUSTER_EVENT_TARGETS, EVENT_TARGETS, OWNERS, event_needs, owner_needs
from zenwatch.sdk.watcher import ApiResource, Watcher
from zenwatch.wiring.plugins import installed_watchers
from zenwatch.wiring.settings import Settings

PODS = ApiResource("", "v1", "pods", "Pod")
REPORTS = ApiResource("a.example.com", "v1", "reports", "Report")
OTHERS = ApiResource("a.example.com", "v1", "others", "Other")


def rules_in(file: str, kind: str = "ClusterRole") -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "deployments" / file).read_text())
    return next(list(document["rules"]) for document in documents if document["kind"] == kind)


def grants(rules: list[dict[str, Any]], need: Permission) -> bool:
    return any(
        need.resource.group in rule["apiGroups"] and need.plural in rule["resources"] and need.verb in rule["verbs"] for rule in rules
    )


@pytest.mark.parametrize(
    ("file", "kind", "namespaces"), [("base/rbac.yaml", "ClusterRole", ""), ("namespaced/role.yaml", "Role", "shop,payments")]
)
def test_what_is_checked_is_what_the_shipped_roles_grant(file: str, kind: str, namespaces: str) -> None:
    """Doctor finds nothing missing where they are applied."""
    settings = Settings.read({"WATCH_NAMESPACE": namespaces})
    reads = [need for watcher in installed_watchers() if isinstance(watcher, Watcher) for need in read_needs(watcher, settings)]

    needs = [*store_needs(settings), *reads, *owner_needs(settings)]

    rules = rules_in(file, kind)
    assert [need for need in needs if not grants(rules, need)] == []


def test_the_rules_of_the_store_are_checked_in_full() -> None:
    """Doctor asks for exactly what rbac.yaml grants on records."""
    granted = {
        (verb, plural)
        for rule in rules_in("base/rbac.yaml")
        for plural in rule["resources"]
        for verb in rule["verbs"]
        if plural.startswith("zenagentevents")
    }

    assert {(need.verb, need.plural) for need in store_needs(Settings.read({}))} == granted


def test_the_rules_for_events_are_checked_in_full() -> None:
    """deployments/events is applied only where EMIT_EVENTS is on."""
    rules = rules_in("events/rbac.yaml")
    granted = {
        (verb, group, plural) for rule in rules for group in rule["apiGroups"] for plural in rule["resources"] for verb in rule["verbs"]
    }

    assert {(need.verb, need.resource.group, need.plural) for need in event_needs(Settings.read({}))} == granted
    assert {kind.plural for kind in OWNERS} < {kind.plural for kind in [*EVENT_TARGETS, *CLUSTER_EVENT_TARGETS]}


def test_rules_are_grouped_by_api_group_and_by_verbs() -> None:
    """As short as a person would write them, and YAML."""
    missing = [
        *(Permission(verb, kind) for kind in (REPORTS, OTHERS) for verb in ("list", "watch")),
        Permission("list", PODS),
        Permission("patch", REPORTS, subresource="status"),
    ]

    assert yaml.safe_load("\n".join(rules_yaml(missing))) == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": ["a.example.com"], "resources": ["reports", "others"], "verbs": ["list", "watch"]},
        {"apiGroups": ["a.example.com"], "resources": ["reports/status"], "verbs": ["patch"]},
    ]
    assert phrase(missing) == "list pods; list, watch reports.a.example.com, others.a.example.com; patch reports/status.a.example.com"


def test_namespaces_that_lack_the_same_are_named_together() -> None:
    """A Role is needed in each; the rules are printed once."""
    missing = [Permission("list", REPORTS, "shop"), Permission("list", REPORTS, "payments"), Permission("list", PODS, "zenwatch")]

    lines = advice(missing, "someone")

    assert phrase(missing) == "list reports.a.example.com in namespace shop, payments; list pods in namespace zenwatch"
    assert [line for line in lines if not line.startswith(" ")] == [
        "Add this to the rules of a Role that someone is bound to, in shop, payments (kubectl edit role zenwatch -n shop):",
        "Add this to the rules of a Role that someone is bound to, in zenwatch (kubectl edit role zenwatch -n zenwatch):",
    ]


# ---------------------------------------------------------------- asked for


async def test_a_missing_permission_to_write_is_a_failure_and_to_delete_a_warning() -> None:
    """Without delete, old records stay; without create, nothing is stored."""
    async with FakeCluster() as cluster:
        cluster.denied = {"delete zenagentevents"}
        lesser = (await diagnose(cluster))["store", "access"]
        cluster.denied = {"create zenagentevents", "patch zenagentevents/status"}
        worse = (await diagnose(cluster))["store", "access"]

    assert (lesser.level, worse.level) == ("WARN", "FAIL")
    assert lesser.text == "someone may not delete zenagentevents.zen.kube-zen.io: old records cannot be removed"
    assert "  - apiGroups: [zen.kube-zen.io]" in worse.advice
    assert "    verbs: [create]" in worse.advice


async def test_a_kind_that_is_not_served_need_not_be_readable() -> None:
    """A cluster without Kyverno grants nothing on its reports. A ConfigMap may be a result, so that is only a warning."""
    async with FakeCluster() as cluster:
        cluster.denied = {f"list {plural}" for plurals in cluster.served.values() for plural in plurals if "report" in plural}
        cluster.denied |= {"watch configmaps"}
        del cluster.served["wgpolicyk8s.io/v1alpha2"], cluster.served["openreports.io/v1alpha1"]
        found = await diagnose(cluster)

    assert ("kyverno", "access") not in found
    assert found["trivy", "access"].level == "FAIL"
    assert found["kube-bench", "access"].level == found["checkov", "access"].level == "WARN"
    assert found["checkov", "access"].advice[-1] == "Or, where the tool is not used: CHECKOV_ENABLED=false"


async def test_another_accounts_permissions_are_asked_for_by_its_name_and_groups() -> None:
    """With the groups of its token. If the client may not ask, the advice is the rule that allows it."""
    async with FakeCluster() as cluster:
        found = await diagnose(cluster, service_account="tools/scanner")
        cluster.denied = {"create subjectaccessreviews"}
        refused = (await diagnose(cluster, service_account="tools/scanner"))["store", "access"]

    assert found.diagnosis.account == "system:serviceaccount:tools:scanner"
    assert {(review["kind"], review["spec"]["user"]) for review in cluster.reviews} == {
        ("SubjectAccessReview", "system:serviceaccount:tools:scanner")
    }
    groups = ["system:serviceaccounts", "system:serviceaccounts:tools", "system:authenticated"]
    assert all(review["spec"]["groups"] == groups for review in cluster.reviews)
    assert refused.level == "UNKNOWN"
    assert "    resources: [subjectaccessreviews]" in refused.advice


async def test_where_zenwatch_is_confined_each_namespace_is_asked_for() -> None:
    """Records are also in its own namespace; kinds of the whole cluster are not asked for."""
    async with FakeCluster() as cluster:
        await diagnose(cluster, WATCH_NAMESPACE="shop,payments", POD_NAMESPACE="zenwatch")

    reviews = [review["spec"]["resourceAttributes"] for review in cluster.reviews]
    assert {review["namespace"] for review in reviews if review["resource"] == "zenagentevents"} == {"shop", "payments", "zenwatch"}
    assert {review["namespace"] for review in reviews if review["resource"] == "policyreports"} == {"shop", "payments"}
    assert not [review for review in reviews if review["resource"].startswith("cluster")]


async def test_the_permissions_of_a_setting_are_asked_for_only_if_it_is_on() -> None:
    """By default GROUP_BY_OWNER is on and EMIT_EVENTS is off."""
    async with FakeCluster() as cluster:
        cluster.denied = {"get replicasets", "create events"}
        found = await diagnose(cluster)
        wanted = await diagnose(cluster, EMIT_EVENTS="true", GROUP_BY_OWNER="false")

    assert found["store", "owners"].level == "WARN"
    assert "    resources: [replicasets]" in found["store", "owners"].advice
    assert ("store", "events") not in found
    assert ("store", "owners") not in wanted
    assert "kubectl apply -k deployments/events" in wanted["store", "events"].advice[-1]
