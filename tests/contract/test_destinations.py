"""The destination has no implementation yet; the promise has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.contract.destination_suite import DestinationSuite
from tests.support.fakes.destination import ListDestination
from zenwatch.errors import Transient


@dataclass
class ListHarness:
    destination: ListDestination = field(default_factory=lambda: ListDestination(capacity_records=3))

    def arrived(self) -> Sequence[Mapping[str, Any]]:
        return self.destination.delivered

    def fail_once(self) -> None:
        self.destination.fail_next(Transient("not now"))


class TestListDestination(DestinationSuite):
    @pytest.fixture
    def harness(self) -> ListHarness:
        return ListHarness()
