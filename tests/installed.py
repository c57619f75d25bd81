"""Install zenwatch into a control plane as a user would: CRDs, base manifests, and the CRDs of the tools it reads."""

import subprocess
import sys
from pathlib import Path

from tests.controlplane.cluster import ControlPlane
from tests.controlplane.identity import Identity

ROOT = Path(__file__).parents[1]
TOOL_CRDS = ROOT / "tests" / "controlplane" / "tool-crds"


def zenwatch_crds() -> str:
    """What `zenwatch crds` prints."""
    command = [sys.executable, "-m", "zenwatch", "crds"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def install_zenwatch(cluster: ControlPlane) -> Identity:
    """Return the service account that the shipped RBAC is bound to."""
    cluster.apply_crds(zenwatch_crds())
    cluster.kubectl("apply", "-k", ROOT / "deployments" / "base")
    cluster.apply_crds(TOOL_CRDS)
    return cluster.service_account("zenwatch", "zenwatch")
