"""Command lines of etcd, kube-apiserver and kube-controller-manager."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.controlplane.audit import DEFAULT_POLICY, Webhook, audit_flags
from tests.support.controlplane.binaries.build import Binaries
from tests.support.controlplane.pki import FRONT_PROXY_NAME, Pki

SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc"
# The controllers whose absence a test notices: they remove deleted namespaces and owned objects, create the `default` service
# account and kube-root-ca.crt of each namespace, and fill aggregated ClusterRoles. No workload ever runs here.
CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
)


@dataclass(frozen=True)
class Options:
    """The options of a control plane; most tests want the defaults."""

    controllers: bool = True
    # False: etcd does not wait for the disk. It is faster, and data is lost only if the machine itself fails.
    fsync: bool = False
    audit_log: bool = False
    # https: the server there has a certificate of ControlPlane.serving_certificate(). token: the bearer token to send, if any.
    audit_webhook_url: str | None = None
    audit_webhook_token: str = ""
    audit_policy: str = DEFAULT_POLICY


@dataclass(frozen=True)
class Layout:
    """The files and ports of one cluster."""

    folder: Path
    etcd_port: int
    etcd_peer_port: int
    apiserver_port: int

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.apiserver_port}"

    @property
    def audit_log_file(self) -> Path:
        return self.folder / "audit.log"

    def log_file(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"


def etcd_command(binaries: Binaries, layout: Layout, options: Options) -> list[str | Path]:
    client_url = f"http://127.0.0.1:{layout.etcd_port}"
    peer_url = f"http://127.0.0.1:{layout.etcd_peer_port}"
    return [
        binaries.etcd,
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={client_url}",
        f"--advertise-client-urls={client_url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=default={peer_url}",
        "--log-level=warn",
        *([] if options.fsync else ["--unsafe-no-fsync"]),
    ]


def apiserver_command(binaries: Binaries, layout: Layout, options: Options, pki: Pki) -> list[str | Path]:
    return [
        binaries.kube_apiserver,
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        f"--secure-port={layout.apiserver_port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        # A loopback address cannot be an endpoint, and no client here uses the Service of the API server.
        "--endpoint-reconciler-type=none",
        f"--cert-dir={layout.folder / 'pki'}",
        f"--tls-cert-file={pki.server_cert_file}",
        f"--tls-private-key-file={pki.server_key_file}",
        f"--client-ca-file={pki.ca_file}",
        f"--service-account-key-file={pki.service_account_key_file}",
        f"--service-account-signing-key-file={pki.service_account_key_file}",
        f"--service-account-issuer={SERVICE_ACCOUNT_ISSUER}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--authorization-mode=RBAC",
        # With it, a Pod waits for a service account and a token volume, which no kubelet would mount.
        "--disable-admission-plugins=ServiceAccount",
        # Privileged Pods are what security tools report on.
        "--allow-privileged=true",
        f"--requestheader-client-ca-file={pki.front_proxy_ca_file}",
        f"--requestheader-allowed-names={FRONT_PROXY_NAME}",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.front_proxy_cert_file}",
        f"--proxy-client-key-file={pki.front_proxy_key_file}",
        *audit_flags(
            layout.folder,
            policy=options.audit_policy,
            webhook=Webhook(options.audit_webhook_url, options.audit_webhook_token, pki.ca_file) if options.audit_webhook_url else None,
            log_file=layout.audit_log_file if options.audit_log else None,
        ),
    ]


def controllers_command(manager: Path, pki: Pki, kubeconfig: Path) -> list[str | Path]:
    return [
        manager,
        f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(CONTROLLERS)}",
        # Each controller has its own service account, so the audit log shows whose request it was.
        "--use-service-account-credentials=true",
        f"--root-ca-file={pki.ca_file}",
        "--leader-elect=false",
        "--secure-port=0",
    ]
