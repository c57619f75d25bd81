"""A real control plane (etcd, kube-apiserver, kube-controller-manager, kubectl) for tests and for trying zenwatch.

    with ControlPlane.start(Options(audit_log=True)) as control_plane:
        control_plane.kubectl("get", "namespaces")

No nodes, no scheduler and no Docker: Pods can be created but never run. The binaries are built once with Go.
"""

from tests.controlplane.build import Binaries, ensure_binaries
from tests.controlplane.cluster import TRIVY_CRDS, ControlPlane
from tests.controlplane.components import Options
from tests.controlplane.errors import BuildError, ControlPlaneError, KubectlError, StartError
from tests.controlplane.identity import Identity, PodFiles

__all__ = [
    "TRIVY_CRDS",
    "Binaries",
    "BuildError",
    "ControlPlane",
    "ControlPlaneError",
    "Identity",
    "KubectlError",
    "Options",
    "PodFiles",
    "StartError",
    "ensure_binaries",
]
