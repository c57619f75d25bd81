"""Every installed watcher passes the suite. A new watcher needs samples here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.payloads import SAMPLES
from watchers.audit import AUDIT
from zenwatch.sdk.testing import WatcherSuite
from zenwatch.sdk.watcher import SelfIdentity, Watcher
from zenwatch.wiring.plugins import installed_watchers

EXAMPLES = ROOT / "examples" / "pushed"
AUDIT_EVENTS = json.loads((EXAMPLES / "audit-events.json").read_text())["items"]
# Only the audit events that rules store: the others have no findings.
PUSHED: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "falco": [json.loads((EXAMPLES / "falco-alert.json").read_text())],
    "audit": [event for event in AUDIT_EVENTS if AUDIT.prepare(AUDIT.settings.read({}), SelfIdentity())(event).finding],
}


@pytest.mark.parametrize("watcher", installed_watchers(), ids=lambda watcher: watcher.name)
class TestInstalledWatchers(WatcherSuite):
    @pytest.fixture
    def reports(self, watcher: Watcher) -> Sequence[Mapping[str, Any]]:
        return SAMPLES.get(watcher.name) or PUSHED[watcher.name]


def test_ours_are_installed() -> None:
    """The process finds the entry points that pyproject.toml declares."""
    assert {watcher.name for watcher in installed_watchers()} >= {*SAMPLES, *PUSHED}
