"""zenwatch/doctor/permissions.py and options.py: what is missing, and the rules that grant it."""

from typing import Any

import pytest
import yaml

from tests.support.doctor_cluster import FakeCluster, diagnose
from tests.support.paths import ROOT
from zenwatch.doctor.options import ANNOUNCED, ANNOUNCED_OF_CLUSTER, OWNERS, event_needs, owner_needs
from zenwatch.doctor.permissions import Permission, advice, read_needs, rules_of, store_needs, told
from zenwatch.runtime.plugins import installed_watchers
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.watcher import ApiResource, Watcher

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
    """Whoever applies them sees no complaint."""
    settings = Settings.read({"WATCH_NAMESPACE": namespaces})
    reads = [need for watcher in installed_watchers() if isinstance(watcher, Watcher) for need in read_needs(watcher, settings)]

    needs = [*store_needs(settings), *reads, *owner_needs(settings)]

    rules = rules_in(file, kind)
    assert [need for need in needs if not grants(rules, need)] == []


def test_the_rules_of_the_store_are_checked_in_full() -> None:
    """What rbac.yaml grants on records, doctor asks for, and the other way round."""
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
    assert {kind.plural for kind in OWNERS} < {kind.plural for kind in [*ANNOUNCED, *ANNOUNCED_OF_CLUSTER]}


def test_rules_are_grouped_by_api_group_and_by_verbs() -> None:
    """As short as a person would write them, and YAML."""
    missing = [
        *(Permission(verb, kind) for kind in (REPORTS, OTHERS) for verb in ("list", "watch")),
        Permission("list", PODS),
        Permission("patch", REPORTS, subresource="status"),
    ]

    assert yaml.safe_load("\n".join(rules_of(missing))) == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": ["a.example.com"], "resources": ["reports", "others"], "verbs": ["list", "watch"]},
        {"apiGroups": ["a.example.com"], "resources": ["reports/status"], "verbs": ["patch"]},
    ]
    assert told(missing) == "list pods; list, watch reports.a.example.com, others.a.example.com; patch reports/status.a.example.com"


def test_namespaces_that_lack_the_same_are_named_together() -> None:
    """A Role is needed in each; the rules are printed once."""
    missing = [Permission("list", REPORTS, "shop"), Permission("list", REPORTS, "payments"), Permission("list", PODS, "zenwatch")]

    lines = advice(missing, "someone")

    assert told(missing) == "list reports.a.example.com in namespace shop, payments; list pods in namespace zenwatch"
    assert [line for line in lines if not line.startswith(" ")] == [
        "Add this to the rules of a Role that someone is bound to, in shop, payments (kubectl edit role zenwatch -n shop):",
        "Add this to the rules of a Role that someone is bound to, in zenwatch (kubectl edit role zenwatch -n zenwatch):",
    ]


# ---------------------------------------------------------------- asked for


async def test_what_is_missing_of_the_store_is_a_failure_and_of_retention_a_warning() -> None:
    """Without delete, what is stored stays; without create, nothing is stored."""
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
    """Who has no Kyverno gives no rights on its reports. A ConfigMap may be a result, so that is a warning."""
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
    """As its token would carry them; who may not ask is told what that takes."""
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
    """Records also in its own; no kinds of the whole cluster."""
    async with FakeCluster() as cluster:
        await diagnose(cluster, WATCH_NAMESPACE="shop,payments", POD_NAMESPACE="zenwatch")

    asked = [review["spec"]["resourceAttributes"] for review in cluster.reviews]
    assert {review["namespace"] for review in asked if review["resource"] == "zenagentevents"} == {"shop", "payments", "zenwatch"}
    assert {review["namespace"] for review in asked if review["resource"] == "policyreports"} == {"shop", "payments"}
    assert not [review for review in asked if review["resource"].startswith("cluster")]


async def test_what_a_setting_takes_is_asked_for_only_where_it_is_on() -> None:
    """Grouping by owner is; Events are not, unless wanted."""
    async with FakeCluster() as cluster:
        cluster.denied = {"get replicasets", "create events"}
        found = await diagnose(cluster)
        wanted = await diagnose(cluster, EMIT_EVENTS="true", GROUP_BY_OWNER="false")

    assert found["store", "owners"].level == "WARN"
    assert "    resources: [replicasets]" in found["store", "owners"].advice
    assert ("store", "events") not in found
    assert ("store", "owners") not in wanted
    assert "kubectl apply -k deployments/events" in wanted["store", "events"].advice[-1]
