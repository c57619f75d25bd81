"""`zenwatch watchers`: the installed watchers, what they read and need, and what they find."""

import asyncio
from pathlib import Path

import pytest
import yaml

from tests.support.fakes.api_server import FakeApiServer, body, status
from tests.support.terminal import Zenwatch
from zenwatch.sdk.watcher import PushWatcher
from zenwatch.wiring.plugins import installed_watchers


def test_without_a_cluster_every_watcher_is_described(zenwatch: Zenwatch) -> None:
    """Where it comes from, what it detects and reads, and the permissions for that."""
    shown = zenwatch("watchers")

    assert shown.code == 0
    for watcher in installed_watchers():
        part = shown.out.partition(f"{watcher.name}\n    from      watchers.")[2].partition("\n\n")[0]
        assert f"    severity  {watcher.min_severity} and above\n" in part
        for resource in watcher.reads:
            assert f"{resource.full_name} ({resource.version})" in part
            assert f"list, watch {resource.full_name}\n" in part
        if isinstance(watcher, PushWatcher):
            assert f"    reads     POST {watcher.path} (application/json" in part
        if watcher.namespace:
            assert f"list pods in namespace {watcher.namespace} (to detect it; not needed to read)" in part
    assert "detects   labelled objects or pods labelled app=checkov in checkov" in shown.out
    assert "configmaps (v1) labelled app=checkov" in shown.out
    assert shown.out.splitlines()[-1] == "Name a cluster (--kubeconfig, --context or KUBECONFIG) to see what they find there."


def test_the_settings_of_the_user_are_printed(zenwatch: Zenwatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that is off, another threshold, another namespace. A wrong value is an error."""
    monkeypatch.setenv("TRIVY_ENABLED", "false")
    monkeypatch.setenv("KYVERNO_MIN_SEVERITY", "high")
    monkeypatch.setenv("CHECKOV_NAMESPACE", "ci")

    shown = zenwatch("watchers").out
    monkeypatch.setenv("TRIVY_ENABLED", "perhaps")
    wrong = zenwatch("watchers")

    assert "trivy   (disabled)\n" in shown
    assert "kyverno\n" in shown
    assert shown.count("    severity  HIGH and above\n") == 2
    assert "list pods in namespace ci (" in shown
    assert (wrong.code, "TRIVY_ENABLED is 'perhaps'" in wrong.err) == (2, True)


async def test_with_a_cluster_it_prints_what_is_there(zenwatch: Zenwatch, tmp_path: Path) -> None:
    """A line for each kind, and for the pods."""
    async with FakeApiServer() as server:
        server.answers("GET", "/apis/aquasecurity.github.io/v1alpha1/vulnerabilityreports", body({"items": [{}, {}]}))
        server.answers("GET", "/api/v1/namespaces/trivy-system/pods", status(403))
        context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
        kubeconfig = {"current-context": "c", "contexts": [context], "users": [{"name": "u", "user": {}}]}
        kubeconfig["clusters"] = [{"name": "c", "cluster": {"server": server.url}}]
        (tmp_path / "config").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config"} | kubeconfig))

        shown = await asyncio.to_thread(zenwatch, "watchers", "--kubeconfig", str(tmp_path / "config"))

    lines = [line.strip() for line in shown.out.splitlines()]
    assert "found     2 vulnerabilityreports.aquasecurity.github.io" in lines
    assert "missing permission: list pods in namespace trivy-system" in lines
    assert sum("is not served" in line for line in lines) == sum(len(watcher.reads) for watcher in installed_watchers()) - 1
    assert "Name a cluster" not in shown.out
