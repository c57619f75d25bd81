"""Fixtures of the tests that move the clock of a zenwatch in their own process."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.fakes.clock import MovedClock
from tests.support.live.fault_proxy import Fault, FaultProxy
from tests.support.live.in_process import InProcess


@pytest.fixture
def moved_clock() -> MovedClock:
    """One for all processes of a test: time does not begin anew with a restart."""
    return MovedClock()


@pytest.fixture
def live(cluster: ControlPlane, account: Identity, moved_clock: MovedClock) -> Iterator[Callable[..., InProcess]]:
    """Start zenwatch under its own account, after the one before was stopped; the last one is stopped at the end of the test."""
    started: list[InProcess] = []

    def start(**settings: str) -> InProcess:
        for earlier in started:
            earlier.stop()
        started.append(InProcess(cluster.kubeconfig(account), moved_clock, settings))
        return started[-1].start()

    yield start
    for zenwatch in started:
        zenwatch.stop()


@pytest.fixture(scope="session")
def standing_proxy(cluster: ControlPlane) -> Iterator[FaultProxy]:
    """For the whole run: its connections to the API server say goodbye after the test that used them."""
    with FaultProxy(cluster.server, cluster.ca_file, choose=lambda: Fault.NONE) as proxy:
        yield proxy


@pytest.fixture
def proxy(standing_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """Passes everything on, unless the test has it away."""
    yield standing_proxy
    standing_proxy.is_away = False
