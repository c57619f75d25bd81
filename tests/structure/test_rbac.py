"""The shipped RBAC has the rules that the code needs, and no more than the specification allows."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.support.paths import ROOT
from zenwatch.sdk.watcher import ApiResource
from zenwatch.wiring.plugins import installed_watchers

Rule = dict[str, Any]


def rules(file: str = "base/rbac.yaml") -> list[Rule]:
    documents = list(yaml.safe_load_all((ROOT / "deployments" / file).read_text()))
    (role,) = [document for document in documents if document["kind"] in {"ClusterRole", "Role"}]
    return list(role["rules"])


def verbs_on(group: str, plural: str, file: str = "base/rbac.yaml") -> set[str]:
    return {verb for rule in rules(file) if group in rule["apiGroups"] and plural in rule["resources"] for verb in rule["verbs"]}


def kinds_read() -> Iterator[ApiResource]:
    for watcher in installed_watchers():
        yield from watcher.reads


@pytest.mark.parametrize("kind", list(kinds_read()), ids=lambda kind: kind.full_name)
def test_every_kind_that_a_watcher_reads_may_be_listed_and_watched(kind: ApiResource) -> None:
    """Without it, its users see `forbidden` on the first day."""
    assert {"list", "watch"} <= verbs_on(kind.group, kind.plural)


@pytest.mark.parametrize("file", ["base/rbac.yaml", "namespaced/role.yaml"])
@pytest.mark.parametrize(("group", "plural"), [("", "pods"), ("apps", "replicasets"), ("batch", "jobs")])
def test_owners_may_be_read(file: str, group: str, plural: str) -> None:
    """Without it, every rollout makes new records. They are not watched, because they change too often."""
    assert verbs_on(group, plural, file) == {"get", "list"}


def test_nothing_is_written_outside_our_own_group() -> None:
    """docs/specification.md, "Security": no write access to any workload resource."""
    for rule in rules():
        if rule["apiGroups"] != ["zen.kube-zen.io"]:
            assert set(rule["verbs"]) <= {"get", "list", "watch"}, rule


def test_the_lease_may_be_made_and_kept_and_no_other_one_touched() -> None:
    """create cannot be confined to a name; the rest is. kube/lease.py asks for exactly this."""
    granted = {(verb, *rule.get("resourceNames", ())) for rule in rules("base/lease.yaml") for verb in rule["verbs"]}

    assert granted == {("create",), ("get", "zenwatch-local"), ("update", "zenwatch-local")}
    assert {(*rule["apiGroups"], *rule["resources"]) for rule in rules("base/lease.yaml")} == {("coordination.k8s.io", "leases")}


def test_there_are_no_wildcards_and_no_secrets() -> None:
    """zenwatch must not be a way into the cluster."""
    for rule in rules():
        for field in ("apiGroups", "resources", "verbs"):
            assert "*" not in rule[field], rule
        assert "secrets" not in rule["resources"]


def test_configmaps_are_only_ever_listed() -> None:
    """zenwatch lists them by label; a `get` could read others, too."""
    assert verbs_on("", "configmaps") == {"list", "watch"}


def test_every_rule_has_a_comment() -> None:
    """The comment above a rule names the component or watcher that needs it."""
    lines = (ROOT / "deployments" / "base" / "rbac.yaml").read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line.startswith("  - apiGroups")]
    assert starts
    assert [lines[number] for number in starts if not lines[number - 1].lstrip().startswith("#")] == []
