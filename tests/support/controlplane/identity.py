"""A client of the API server: its identity, its kubeconfig, and the files that a pod of that identity finds."""

import base64
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tests.support.controlplane.pki import ClientCertificate


@dataclass(frozen=True)
class Identity:
    """Has a certificate or a token."""

    name: str
    namespace: str = "default"
    certificate: ClientCertificate | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PodFiles:
    """folder: like /var/run/secrets/kubernetes.io/serviceaccount in a pod. env: the variables that the kubelet sets."""

    folder: Path
    env: dict[str, str]


def kubeconfig_text(identity: Identity, *, server: str, ca_pem: bytes) -> str:
    """Everything is in one file, so that it can be copied."""
    user: dict[str, str] = {}
    if identity.token is not None:
        user["token"] = identity.token
    if identity.certificate is not None:
        user["client-certificate-data"] = _base64(identity.certificate.chain_pem)
        user["client-key-data"] = _base64(identity.certificate.key_pem)
    cluster = {"server": server, "certificate-authority-data": _base64(ca_pem)}
    context = {"cluster": "zenwatch", "user": identity.name, "namespace": identity.namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "zenwatch", "cluster": cluster}],
        "users": [{"name": identity.name, "user": user}],
        "contexts": [{"name": "zenwatch", "context": context}],
        "current-context": "zenwatch",
    }
    return yaml.safe_dump(config, sort_keys=False)


def write_pod_files(folder: Path, identity: Identity, *, ca_pem: bytes, port: int) -> PodFiles:
    assert identity.token is not None, "a pod has a service account"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # No newline at the end of token and namespace: the kubelet writes none.
    (folder / "token").write_text(identity.token)
    (folder / "namespace").write_text(identity.namespace)
    (folder / "ca.crt").write_bytes(ca_pem)
    env = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(port),
        "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
    }
    return PodFiles(folder=folder, env=env)


def _base64(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
