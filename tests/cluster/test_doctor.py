"""`zenwatch doctor`: each thing that can be wrong is broken for real, and its advice followed until all is well again."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.builders.posted import an_alert_in
from tests.support.builders.vulnerability_reports import a_vulnerability, report_in
from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.live.client import post
from tests.support.live.commands import DoctorReport, doctor, run_command
from tests.support.live.install import TOOL_CRDS, zenwatch_crds
from tests.support.live.objects import apply, records_of_source
from tests.support.live.process import Zenwatch, eventually
from tests.support.paths import ROOT
from zenwatch.doctor.check import Level
from zenwatch.doctor.cluster.api_server import check_api_server
from zenwatch.kube import access
from zenwatch.kube.client import KubeClient
from zenwatch.runtime.clock import SystemClock

pytestmark = pytest.mark.cluster

Start = Callable[..., Zenwatch]
TOKEN = "doctor-0123456789abcdef"  # noqa: S105  of no use anywhere
RECORDS_CRD = "zenagentevents.zen.kube-zen.io"


def until(level: str, area: str, title: str, kubeconfig: Path, *arguments: str, **settings: str) -> DoctorReport:
    """What doctor says once it says that; empty: once it has no such check. Authorizers and discovery take a moment."""

    def asked() -> DoctorReport | None:
        report = doctor(kubeconfig, *arguments, **settings)
        return report if report.checks.get((area, title), {"level": ""})["level"] == level else None

    report = eventually(asked)
    assert report is not None
    return report


def pasted(advice: list[str]) -> list[dict[str, Any]]:
    """The rules among the lines of an advice, as an editor would take them."""
    rules = yaml.safe_load("\n".join(line for line in advice if line.startswith(("  - ", "    "))))
    return list(rules)


@pytest.fixture
def there(start_zenwatch: Start) -> dict[str, str]:
    """A zenwatch that runs, as the setting by which doctor finds it."""
    return {"LISTEN": start_zenwatch().url.partition("//")[2]}


@pytest.fixture
def lesser(cluster: ControlPlane, account: Identity) -> Iterator["Lesser"]:
    """An account with a ClusterRole of its own, which is that of zenwatch at first."""
    name = f"lesser-{os.urandom(4).hex()}"
    cluster.service_account("zenwatch", name)
    lesser = Lesser(cluster, name)
    lesser.grant(shipped_rules())
    cluster.kubectl("create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount=zenwatch:{name}")
    yield lesser
    cluster.kubectl("delete", "clusterrolebinding,clusterrole", name)
    cluster.kubectl("delete", "serviceaccount", name, "-n", "zenwatch")


def shipped_rules() -> list[dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "deployments" / "base" / "rbac.yaml").read_text())
    return next(list(document["rules"]) for document in documents if document["kind"] == "ClusterRole")


class Lesser:
    def __init__(self, cluster: ControlPlane, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.rules: list[dict[str, Any]] = []

    @property
    def kubeconfig(self) -> Path:
        return self._cluster.kubeconfig(self._cluster.service_account("zenwatch", self.name))

    def grant(self, rules: list[dict[str, Any]]) -> None:
        self.rules = rules
        role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": self.name}, "rules": rules}
        self._cluster.kubectl("apply", "-f", "-", stdin=json.dumps(role))


# ---------------------------------------------------------------- all well


def test_where_all_is_well_it_says_so(cluster: ControlPlane, account: Identity, namespace: str, there: dict[str, str]) -> None:
    """Exit code 0, one screen; each source with what speaks for it, its newest report and its open records."""
    apply(cluster, report_in(namespace, a_vulnerability()))
    kubeconfig = cluster.kubeconfig(account)
    eventually(lambda: records_of_source(cluster, namespace, "trivy"))

    report = doctor(kubeconfig, **there)
    code, shown = run_command("doctor", "--kubeconfig", str(kubeconfig), **there)

    assert (report.code, report.bad(), code) == (0, [], 0)
    assert report.account == "system:serviceaccount:zenwatch:zenwatch"
    assert report.text("trivy", "tool") == "detected: 8 of 8 kinds served as aquasecurity.github.io/v1alpha1"
    assert report.text("trivy", "data").startswith("last data ")
    assert report.text("trivy", "data").endswith(" records open")
    assert report.level("falco", "webhook") == report.level("audit", "webhook") == "OK"
    assert len(shown.splitlines()) <= 50
    assert "\033" not in shown


# ---------------------------------------------------------------- permissions


def test_a_permission_to_read_that_is_missing_comes_back_with_the_rule_that_doctor_prints(lesser: Lesser) -> None:
    """Two rules are taken away; the one that is printed is pasted; all is well again. The others are not touched."""
    lesser.grant([rule for rule in shipped_rules() if "aquasecurity.github.io" not in rule["apiGroups"]])
    broken = until("FAIL", "trivy", "access", lesser.kubeconfig)
    assert broken.code == 2
    assert "may not list, watch vulnerabilityreports.aquasecurity.github.io, clustervuln" in broken.text("trivy", "access")
    assert broken.level("kyverno", "access") == broken.level("store", "access") == "OK"

    lesser.grant(lesser.rules + pasted(broken.advice("trivy", "access")))

    mended = until("OK", "trivy", "access", lesser.kubeconfig)
    # Nobody runs: that stays to be looked at.
    assert mended.bad() == [("process", "answers")]
    assert mended.code == 1


def test_a_permission_to_write_that_is_missing_is_found_by_whoever_asks_for_the_account(cluster: ControlPlane, lesser: Lesser) -> None:
    """An administrator asks for another account; that account itself may not, and gets the rule for it."""
    whose = ("--as-service-account", f"zenwatch/{lesser.name}")
    lesser.grant([rule for rule in shipped_rules() if rule["resources"] != ["zenagentevents/status"]])
    broken = until("FAIL", "store", "access", cluster.kubeconfig(), *whose)
    assert broken.account == f"system:serviceaccount:zenwatch:{lesser.name}"
    assert "may not patch zenagentevents/status.zen.kube-zen.io: records cannot be stored" in broken.text("store", "access")

    lesser.grant(lesser.rules + pasted(broken.advice("store", "access")))
    until("OK", "store", "access", cluster.kubeconfig(), *whose)

    refused = doctor(lesser.kubeconfig, *whose)
    assert refused.level("store", "access") == refused.level("trivy", "access") == "UNKNOWN"
    lesser.grant(lesser.rules + pasted(refused.advice("store", "access")))
    until("OK", "store", "access", lesser.kubeconfig, *whose)


def test_roles_in_namespaces_are_checked_where_zenwatch_is_confined_to_them(cluster: ControlPlane, namespace: str) -> None:
    """Without them each namespace is named with the command that gives them; kinds of the whole cluster are not asked for."""
    name = cluster.service_account("zenwatch", f"confined-{os.urandom(4).hex()}").name.rpartition("-")[0].removeprefix("zenwatch-")
    kubeconfig = cluster.kubeconfig(cluster.service_account("zenwatch", name))
    confined = {"WATCH_NAMESPACE": namespace, "POD_NAMESPACE": "zenwatch"}
    broken = doctor(kubeconfig, **confined)
    store, trivy = broken.advice("store", "access"), broken.advice("trivy", "access")
    assert f"in {namespace}, zenwatch (" in store[0]
    assert "clustervulnerabilityreports" not in broken.text("trivy", "access")
    assert broken.code == 2

    try:
        for where, rules in ((namespace, pasted(store) + pasted(trivy)), ("zenwatch", pasted(store))):
            role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules}
            cluster.kubectl("apply", "-n", where, "-f", "-", stdin=json.dumps(role))
            cluster.kubectl("create", "rolebinding", name, "-n", where, f"--role={name}", f"--serviceaccount=zenwatch:{name}")

        def is_mended() -> bool:
            report = doctor(kubeconfig, **confined)
            return report.level("store", "access") == report.level("trivy", "access") == "OK"

        eventually(is_mended)
    finally:
        cluster.kubectl("delete", "rolebinding,role", name, "-n", "zenwatch", "--ignore-not-found")
        cluster.kubectl("delete", "serviceaccount", name, "-n", "zenwatch")


# ---------------------------------------------------------------- what is served


@pytest.fixture
def definitions(cluster: ControlPlane, account: Identity) -> Iterator[None]:
    """What the test does to the definitions is undone. All records go with it; nothing else runs at the same time."""
    yield
    cluster.apply_crds(zenwatch_crds())
    cluster.apply_crds(TOOL_CRDS)


def replace(cluster: ControlPlane, definition: Mapping[str, Any]) -> None:
    cluster.kubectl("delete", "crd", definition["metadata"]["name"], "--ignore-not-found")
    cluster.apply_crds(yaml.safe_dump(definition))


def follow(cluster: ControlPlane, advice: list[str]) -> None:
    """zenwatch crds | kubectl apply -f -"""
    assert advice == ["zenwatch crds | kubectl apply -f -"]
    cluster.apply_crds(zenwatch_crds())


def test_a_kind_of_ours_that_is_missing_is_there_again_after_the_command(
    cluster: ControlPlane, account: Identity, definitions: None
) -> None:
    """Without it nothing can be stored; the rest is looked at all the same."""
    cluster.kubectl("delete", "crd", RECORDS_CRD)
    kubeconfig = cluster.kubeconfig(account)
    broken = until("FAIL", "store", "CRD", kubeconfig)
    assert broken.code == 2
    assert "not served: nothing can be stored" in broken.text("store", "CRD")
    assert broken.level("trivy", "access") == "OK"

    follow(cluster, broken.advice("store", "CRD"))

    until("OK", "store", "CRD", kubeconfig)


def test_a_definition_of_an_older_zenwatch_is_seen_and_brought_up_to_date(
    cluster: ControlPlane, account: Identity, definitions: None
) -> None:
    """One that lacks a field throws it away; one that does not know a severity refuses records. To an administrator also the storage."""
    kubeconfig = cluster.kubeconfig()
    definition = next(document for document in yaml.safe_load_all(zenwatch_crds()) if document["metadata"]["name"] == RECORDS_CRD)
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["remediation"]
    replace(cluster, definition)
    lacking = until("WARN", "store", "schema", kubeconfig)
    assert "spec.remediation" in lacking.text("store", "schema")
    assert lacking.text("store", "CRD").endswith("served as v1, stored as v1")
    spec["properties"]["severity"]["enum"].remove("INFO")
    replace(cluster, definition)
    narrower = until("FAIL", "store", "schema", kubeconfig)
    assert "spec.severity (does not take INFO)" in narrower.text("store", "schema")

    follow(cluster, narrower.advice("store", "schema"))

    until("OK", "store", "schema", kubeconfig)


def test_a_tool_whose_kinds_are_of_another_version_is_not_taken_for_a_quiet_one(cluster: ControlPlane, account: Identity) -> None:
    """The version that is served and the one that is read are both named; once the right one is served, all is well."""
    kubeconfig = cluster.kubeconfig(account)
    shipped = (TOOL_CRDS / "openreports.yaml").read_text()
    try:
        for definition in yaml.safe_load_all(shipped):
            definition["spec"]["versions"] = [definition["spec"]["versions"][0] | {"name": "v2"}]
            replace(cluster, definition)
        broken = until("FAIL", "kyverno", "version", kubeconfig)
        assert broken.code == 2
        assert "openreports.io is served as v2, but read as v1alpha1" in broken.text("kyverno", "version")
        assert "2 of 4 kinds served as wgpolicyk8s.io/v1alpha2" in broken.text("kyverno", "tool")
    finally:
        for definition in yaml.safe_load_all(shipped):
            replace(cluster, definition)

    until("", "kyverno", "version", kubeconfig)


def test_a_namespace_of_ours_that_is_missing_can_be_made_as_proposed(cluster: ControlPlane, account: Identity) -> None:
    """Findings about nodes have nowhere else to go."""
    kubeconfig, name = cluster.kubeconfig(account), f"own-{os.urandom(4).hex()}"
    broken = doctor(kubeconfig, POD_NAMESPACE=name)
    assert (broken.code, broken.level("store", "namespace")) == (2, "FAIL")

    command = broken.advice("store", "namespace")[0].split()
    cluster.kubectl(*command[1:])

    assert doctor(kubeconfig, POD_NAMESPACE=name).level("store", "namespace") == "OK"
    cluster.kubectl("delete", "namespace", name, "--wait=false")


# ---------------------------------------------------------------- clocks


class MovedClock(SystemClock):
    def __init__(self, off_secs: float) -> None:
        self.off_secs = off_secs

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.off_secs)


@pytest.mark.parametrize(
    ("off_secs", "level", "text"), [(20, Level.WARN, "ahead of"), (-20, Level.WARN, "behind"), (300, Level.FAIL, "ahead of")]
)
async def test_a_clock_that_is_off_is_seen_until_it_is_set(cluster: ControlPlane, off_secs: float, level: Level, text: str) -> None:
    """Against the real API server's Date; some seconds are nothing."""
    found = access.from_kubeconfig(str(cluster.kubeconfig()), None)
    client = KubeClient(found, timeout_secs=10, connections=2)
    clock = MovedClock(off_secs)
    try:
        wrong = (await check_api_server(client, clock, found.server)).checks[1]
        clock.off_secs = 2
        right = (await check_api_server(client, clock, found.server)).checks[1]
    finally:
        await client.close()

    assert (wrong.level, f"{text} the API server's" in wrong.text) == (level, True)
    assert "timedatectl" in wrong.advice[0]
    assert right.level is Level.OK


def test_an_api_server_that_is_away_is_the_only_thing_that_is_reported_of_it(cluster: ControlPlane, tmp_path: Path) -> None:
    """No cascade of timeouts; the process is asked all the same."""
    config = yaml.safe_load(cluster.kubeconfig().read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "config").write_text(yaml.safe_dump(config))

    report = doctor(tmp_path / "config")

    assert (report.code, report.account) == (2, "")
    assert [where for where, check in report.checks.items() if check["level"] == "FAIL"] == [("cluster", "API server")]
    assert ("process", "answers") in report.checks


# ---------------------------------------------------------------- webhooks


def test_webhooks_that_nobody_serves_are_reachable_once_zenwatch_runs(
    cluster: ControlPlane, account: Identity, namespace: str, start_zenwatch: Start, tmp_path: Path
) -> None:
    """What only the process knows is unknown until then; a --url that was named and where nobody answers is a failure."""
    kubeconfig = cluster.kubeconfig(account)
    alone, named = doctor(kubeconfig, LISTEN="127.0.0.1:1"), doctor(kubeconfig, "--url", "http://127.0.0.1:1")
    assert (alone.code, alone.level("process", "answers"), alone.level("falco", "webhook")) == (1, "WARN", "UNKNOWN")
    assert "http://127.0.0.1:1" in alone.text("process", "answers")
    assert (named.code, named.level("process", "answers")) == (2, "FAIL")

    (tmp_path / "token").write_text(TOKEN)
    token = {"WEBHOOK_TOKEN_FILE": str(tmp_path / "token")}
    zenwatch = start_zenwatch(**token)
    post(f"{zenwatch.url}/falco/webhook/{TOKEN}", an_alert_in(namespace))
    eventually(lambda: records_of_source(cluster, namespace, "falco"))
    report = doctor(kubeconfig, "--url", zenwatch.url, **token)

    assert (report.code, report.level("falco", "webhook"), report.level("audit", "webhook")) == (0, "OK", "OK")
    assert "take the one of WEBHOOK_TOKEN_FILE" in report.text("process", "token")
    assert "; 1 records open" in report.text("falco", "data")


def test_a_token_that_is_not_taken_and_a_path_that_is_not_there_are_named(
    cluster: ControlPlane, account: Identity, start_zenwatch: Start, tmp_path: Path
) -> None:
    """Given the right file, or a process with the watcher switched on, they are gone."""
    kubeconfig = cluster.kubeconfig(account)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "other").write_text(f"other-{TOKEN}")
    right, wrong = ({"WEBHOOK_TOKEN_FILE": str(tmp_path / name)} for name in ("token", "other"))
    zenwatch = start_zenwatch(FALCO_ENABLED="false", **right)

    broken = doctor(kubeconfig, "--url", zenwatch.url, **wrong)
    assert (broken.code, broken.level("process", "token"), broken.level("falco", "webhook")) == (2, "WARN", "FAIL")
    assert "FALCO_ENABLED=true" in broken.advice("falco", "webhook")[0]

    mended = doctor(kubeconfig, "--url", start_zenwatch(**right).url, **right)
    assert (mended.bad(), mended.code) == ([], 0)


def test_settings_with_which_zenwatch_would_not_start_are_reported_where_none_runs(
    cluster: ControlPlane, account: Identity, tmp_path: Path
) -> None:
    """Anybody could post: the sentence is that of `zenwatch run`, and so is the way out."""
    kubeconfig = cluster.kubeconfig(account)
    open_to_all = doctor(kubeconfig, LISTEN="0.0.0.0:1")
    assert (open_to_all.code, open_to_all.level("process", "settings")) == (2, "FAIL")
    assert "Set WEBHOOK_TOKEN_FILE" in open_to_all.advice("process", "settings")[0]

    (tmp_path / "token").write_text(TOKEN)
    assert ("process", "settings") not in doctor(kubeconfig, LISTEN="0.0.0.0:1", WEBHOOK_TOKEN_FILE=str(tmp_path / "token")).checks
