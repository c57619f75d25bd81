"""Certificates of one cluster: created when it starts, removed when it ends, valid nowhere else."""

from dataclasses import dataclass
from pathlib import Path

import trustme

SERVER_NAMES = ("127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
FRONT_PROXY_NAME = "front-proxy-client"
# trustme marks the alternative names as critical even where there are none, and Go refuses an empty critical extension.
CLIENT_NAME = "client.invalid"


@dataclass(frozen=True)
class ClientCertificate:
    chain_pem: bytes
    key_pem: bytes


class Pki:
    """Writes what the API server reads into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA(organization_name="zenwatch test cluster")
        # A second authority: if one signed clients and front proxies, a client could act as any user.
        front_proxy_authority = trustme.CA(organization_name="zenwatch test front proxy")
        folder.mkdir(mode=0o700)
        self.ca_file = folder / "ca.crt"
        self.server_cert_file = folder / "apiserver.crt"
        self.server_key_file = folder / "apiserver.key"
        self.service_account_key_file = folder / "service-account.key"
        self.front_proxy_ca_file = folder / "front-proxy-ca.crt"
        self.front_proxy_cert_file = folder / "front-proxy-client.crt"
        self.front_proxy_key_file = folder / "front-proxy-client.key"

        self._authority.cert_pem.write_to_path(self.ca_file)
        front_proxy_authority.cert_pem.write_to_path(self.front_proxy_ca_file)
        server = self._authority.issue_cert(*SERVER_NAMES)
        _write(server, self.server_cert_file, self.server_key_file)
        front_proxy = front_proxy_authority.issue_cert(CLIENT_NAME, common_name=FRONT_PROXY_NAME)
        _write(front_proxy, self.front_proxy_cert_file, self.front_proxy_key_file)
        # Only the key matters: the API server reads the public half from it, too.
        trustme.CA().private_key_pem.write_to_path(self.service_account_key_file)

    @property
    def ca_pem(self) -> bytes:
        return self._authority.cert_pem.bytes()

    def client(self, user: str, group: str | None = None) -> ClientCertificate:
        issued = self._authority.issue_cert(CLIENT_NAME, common_name=user, organization_name=group)
        chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
        return ClientCertificate(chain_pem=chain, key_pem=issued.private_key_pem.bytes())


def _write(issued: trustme.LeafCert, cert_file: Path, key_file: Path) -> None:
    cert_file.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(key_file)
