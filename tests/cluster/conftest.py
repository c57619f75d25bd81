"""Fixtures of tests that run zenwatch in their own process and move its clock."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.fakes.clock import MovedClock
from tests.support.faults.fault_proxy import Fault, FaultProxy
from tests.support.live.in_process import InProcess


@pytest.fixture
def moved_clock() -> MovedClock:
    """One clock for all processes of a test: a restart does not set the time back."""
    return MovedClock()


@pytest.fixture
def live(cluster: ControlPlane, account: Identity, moved_clock: MovedClock) -> Iterator[Callable[..., InProcess]]:
    """Start zenwatch under its own account, and stop the process before it; the end of the test stops the last one."""
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
    """A proxy for the whole run, because its connections to the API server are closed after the test that used them."""
    with FaultProxy(cluster.server, cluster.ca_file, choose=lambda: Fault.NONE) as proxy:
        yield proxy


@pytest.fixture
def proxy(standing_proxy: FaultProxy) -> Iterator[FaultProxy]:
    """The proxy passes everything on, unless the test sets is_away."""
    yield standing_proxy
    standing_proxy.is_away = False
