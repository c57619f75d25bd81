"""Every installed watcher passes the suite; a new one is asked for sample reports here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.contract.watcher_suite import WatcherSuite
from tests.fakes.findings import a_report, a_vulnerability
from zenwatch.app import installed_watchers
from zenwatch.contract import Watcher

SAMPLES: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "trivy": [
        a_report(
            [a_vulnerability(), a_vulnerability(vulnerabilityID="CVE-2026-2", links=["https://example.test/a"])],
            ownerReferences=[{"apiVersion": "v1", "kind": "Pod", "name": "nginx", "controller": True}],
        ),
        a_report(
            [a_vulnerability(fixedVersion="", score=None, severity="UNKNOWN")],
            labels={},
            annotations={"trivy-operator.resource.name": "a-long-name"},
            ownerReferences=[{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a-long-name", "controller": True}],
        ),
    ],
}


@pytest.mark.parametrize("watcher", installed_watchers(), ids=lambda watcher: watcher.name)
class TestInstalledWatchers(WatcherSuite):
    @pytest.fixture
    def reports(self, watcher: Watcher) -> Sequence[Mapping[str, Any]]:
        return SAMPLES[watcher.name]


def test_ours_are_installed() -> None:
    """What pyproject.toml declares is what the process finds."""
    assert {watcher.name for watcher in installed_watchers()} >= set(SAMPLES)
