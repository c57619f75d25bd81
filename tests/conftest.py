"""One real API server for all tests that need it, and zenwatch processes beside it."""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.components import Options
from tests.support.controlplane.identity import Identity
from tests.support.controlplane.processes import free_ports
from tests.support.live.install import install_zenwatch
from tests.support.live.process import Zenwatch


@pytest.fixture(scope="session")
def cluster() -> Iterator[ControlPlane]:
    """The first test that needs it starts it; the end of the run stops it."""
    [port] = free_ports(1)
    url = f"https://127.0.0.1:{port}/audit/webhook"
    # Until a test listens there, the API server tries again and again, as it does when zenwatch is away.
    with ControlPlane.start(Options(audit_log=True, audit_webhook_url=url, audit_webhook_token=secrets.token_hex())) as control_plane:
        yield control_plane


@pytest.fixture(scope="session")
def account(cluster: ControlPlane) -> Identity:
    """The service account with exactly the shipped RBAC, in a cluster where zenwatch and Trivy's kinds are installed."""
    return install_zenwatch(cluster)


@pytest.fixture
def namespace(cluster: ControlPlane, account: Identity) -> Iterator[str]:
    """A new namespace. The end of the test deletes its reports, so that no other zenwatch reads them."""
    name = cluster.namespace()
    yield name
    cluster.kubectl("delete", "vulnerabilityreports", "--all", "-n", name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def start_zenwatch(cluster: ControlPlane, account: Identity, tmp_path: Path) -> Iterator[Callable[..., Zenwatch]]:
    """Start `zenwatch run` as a user would, under its own account; the end of the test stops it and checks its ledger."""
    running: list[Zenwatch] = []

    def start(*, identity: Identity = account, **settings: str) -> Zenwatch:
        log_file = tmp_path / f"zenwatch-{len(running)}.log"
        running.append(Zenwatch(cluster.kubeconfig(identity), log_file, settings))
        return running[-1]

    yield start
    for zenwatch in running:
        zenwatch.stop()
        zenwatch.require_balanced_ledger()
