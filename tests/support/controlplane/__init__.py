"""A real control plane (etcd, kube-apiserver, kube-controller-manager, kubectl) for tests and for trying zenwatch.

    with ControlPlane.start(Options(audit_log=True)) as control_plane:
        control_plane.kubectl("get", "namespaces")

No nodes, no scheduler and no Docker: Pods can be created but never run. The binaries are built once with Go.
"""

from tests.support.controlplane.binaries.build import Binaries, ensure_binaries
from tests.support.controlplane.cluster import TRIVY_CRDS, ControlPlane
from tests.support.controlplane.components import Options
from tests.support.controlplane.errors import BuildError, ControlPlaneError, KubectlError, StartError
from tests.support.controlplane.identity import Identity, PodFiles

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
