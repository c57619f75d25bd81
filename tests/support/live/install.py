"""Install zenwatch into a control plane as a user would: CRDs, base manifests, and the CRDs of the tools it reads."""

import subprocess
import sys

from tests.support.controlplane.cluster import ControlPlane
from tests.support.controlplane.identity import Identity
from tests.support.paths import ROOT

TOOL_CRDS = ROOT / "tests" / "support" / "controlplane" / "tool-crds"


def zenwatch_crds() -> str:
    """Return what `zenwatch crds` prints."""
    command = [sys.executable, "-m", "zenwatch", "crds"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def install_zenwatch(cluster: ControlPlane) -> Identity:
    """Return the service account that the shipped RBAC is bound to."""
    cluster.apply_crds(zenwatch_crds())
    cluster.kubectl("apply", "-k", ROOT / "deployments" / "base")
    cluster.apply_crds(TOOL_CRDS)
    return cluster.service_account("zenwatch", "zenwatch")
