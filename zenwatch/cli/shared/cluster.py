"""Which cluster a command works on. Outside a pod it must be named, so that no cluster is ever used by accident."""

import argparse
import os
from typing import Any

from zenwatch.errors import ConfigError
from zenwatch.kube import access
from zenwatch.wiring.settings import Settings


def add_cluster_options(command: Any) -> None:
    command.add_argument("--kubeconfig", metavar="FILE", help="the kubeconfig to use (default: KUBECONFIG; in a pod its account)")
    command.add_argument("--context", metavar="NAME", help="the kubeconfig's context (default: its current one)")


def cluster_if_named(parsed: argparse.Namespace) -> access.Access | None:
    """The cluster of the options, of the pod, or of KUBECONFIG. None: no cluster was named."""
    if parsed.kubeconfig or parsed.context:
        return access.from_kubeconfig(parsed.kubeconfig, parsed.context)
    if access.is_in_pod(os.environ):
        return access.in_pod(os.environ)
    if os.environ.get("KUBECONFIG"):
        return access.from_kubeconfig(None, None)
    return None


def settings_in(cluster: access.Access, settings: Settings) -> Settings:
    """The settings that a process in this cluster has: in a pod its namespace is zenwatch's own, unless POD_NAMESPACE is set."""
    if cluster.own_namespace and not os.environ.get("POD_NAMESPACE", "").strip():
        return settings.with_changes(own_namespace=cluster.own_namespace)
    return settings


def named_cluster(parsed: argparse.Namespace) -> access.Access:
    """ConfigError if no cluster was named."""
    if cluster := cluster_if_named(parsed):
        return cluster
    raise ConfigError(
        "No cluster was named. Use --kubeconfig FILE, --context NAME or the environment variable KUBECONFIG; "
        "in a pod the service account is used. (~/.kube/config alone is not enough: --context says that you mean it.)"
    )
