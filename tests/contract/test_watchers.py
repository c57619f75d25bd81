"""Every installed watcher passes the suite; a new one is asked for sample reports here."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.support.paths import ROOT
from tests.support.payloads import SAMPLES
from watchers.audit import AUDIT
from zenwatch.runtime.plugins import installed_watchers
from zenwatch.sdk.testing import WatcherSuite
from zenwatch.sdk.watcher import SelfIdentity, Watcher

EXAMPLES = ROOT / "examples" / "pushed"
AUDIT_EVENTS = json.loads((EXAMPLES / "audit-events.json").read_text())["items"]
# Of the audit events those that are taken: what is left out finds nothing, by intent.
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
    """What pyproject.toml declares is what the process finds."""
    assert {watcher.name for watcher in installed_watchers()} >= {*SAMPLES, *PUSHED}
