"""Every installed watcher passes the suite; a new one is asked for sample reports here."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.contract.watcher_suite import WatcherSuite
from tests.unit.watchers.payloads import SAMPLES
from zenwatch.app import installed_watchers
from zenwatch.contract import Watcher


@pytest.mark.parametrize("watcher", installed_watchers(), ids=lambda watcher: watcher.name)
class TestInstalledWatchers(WatcherSuite):
    @pytest.fixture
    def reports(self, watcher: Watcher) -> Sequence[Mapping[str, Any]]:
        return SAMPLES[watcher.name]


def test_ours_are_installed() -> None:
    """What pyproject.toml declares is what the process finds."""
    assert {watcher.name for watcher in installed_watchers()} >= set(SAMPLES)
