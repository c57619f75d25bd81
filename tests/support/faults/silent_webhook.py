"""An admission webhook that takes every connection and never answers."""

import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme

from tests.support.controlplane.cluster import ControlPlane

_CONFIGURATION = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: {name}}}
webhooks:
  - name: silent.example.com
    clientConfig: {{url: "https://127.0.0.1:{port}/", caBundle: {authority}}}
    rules: [{{apiGroups: [zen.kube-zen.io], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [zenagentevents]}}]
    namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: {namespace}}}}}
    failurePolicy: Fail
    timeoutSeconds: {timeout_secs}
    sideEffects: None
    admissionReviewVersions: [v1]
"""


@contextmanager
def silent_webhook(cluster: ControlPlane, namespace: str, *, timeout_secs: int = 10) -> Iterator[None]:
    """Writes of records in this namespace are refused after so long, until the end of the block."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    name = f"silent-{namespace}"
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_take_all, args=(server, tls), daemon=True).start()
        bundle = b64encode(authority.cert_pem.bytes()).decode()
        port = server.getsockname()[1]
        manifest = _CONFIGURATION.format(name=name, port=port, authority=bundle, namespace=namespace, timeout_secs=timeout_secs)
        cluster.kubectl("apply", "-f", "-", stdin=manifest)
        try:
            yield
        finally:
            cluster.kubectl("delete", "validatingwebhookconfiguration", name)


def _take_all(server: socket.socket, tls: ssl.SSLContext) -> None:
    """Keep what was accepted: a connection that is closed would be an answer."""
    kept: list[socket.socket] = []
    with suppress(OSError):
        while True:
            accepted, _ = server.accept()
            kept.append(accepted)
            with suppress(OSError):
                kept.append(tls.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False))
