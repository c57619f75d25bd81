"""Certificates for a TLS server and its clients."""

import ssl
from collections.abc import Mapping
from pathlib import Path

import trustme


def write_certificate(authority: trustme.CA, folder: Path, name: str = "127.0.0.1") -> dict[str, str]:
    """Write a server's certificate and key, and the authority's certificate. Return the paths as cert, key and ca."""
    issued = authority.issue_cert(name)
    cert, key, ca = folder / "tls.crt", folder / "tls.key", folder / "ca.crt"
    cert.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(key))
    authority.cert_pem.write_to_path(str(ca))
    return {"cert": str(cert), "key": str(key), "ca": str(ca)}


def tls_settings(paths: Mapping[str, str], **more: str) -> dict[str, str]:
    return {"TLS_CERT_FILE": paths["cert"], "TLS_KEY_FILE": paths["key"], **more}


def client_context(authority: trustme.CA, *, signed_by: trustme.CA | None = None, common_name: str | None = None) -> ssl.SSLContext:
    """A client that trusts the authority. signed_by: who signed the certificate that it shows; None: it shows none."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if signed_by is not None:
        signed_by.issue_cert("sender.test", common_name=common_name).configure_cert(context)
    return context
