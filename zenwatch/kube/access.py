"""Credentials for an API server: those of the pod's service account, or of a kubeconfig that the user named.

The token is read again every REREAD_SECS, and after a 401.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from zenwatch.errors import ConfigError, Transient, first_line

POD_FOLDER = Path("/var/run/secrets/kubernetes.io/serviceaccount")
# A projected token lives an hour and is replaced after 48 minutes; an exec plug-in's often 15 minutes.
REREAD_SECS = 60.0


@dataclass
class Access:
    """describe: one line by which a person recognises the cluster. read_authorization: reads the header's value; None if the
    client certificate is enough. start_over: forgets remembered credentials, after a 401. Both may block.
    """

    server: str
    tls: ssl.SSLContext | bool
    describe: str
    read_authorization: Callable[[], str | None]
    start_over: Callable[[], None] = lambda: None
    server_name: str | None = None
    proxy: str | None = None
    own_namespace: str | None = None
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _header: str | None = field(default=None, init=False)
    _read_at: float = field(default=float("-inf"), init=False)

    async def authorization(self, *, refused: bool = False) -> str | None:
        """The Authorization header; None if the client certificate is enough. refused: the last header was answered with 401."""
        asked_at = monotonic()
        if refused or asked_at - self._read_at > REREAD_SECS:
            # One task reads for all that wait: otherwise each would start a thread.
            async with self._reading:
                if self._read_at < asked_at:
                    await self._read(refused=refused)
        return self._header

    async def _read(self, *, refused: bool) -> None:
        try:
            if refused:
                await asyncio.to_thread(self.start_over)
            self._header = await asyncio.to_thread(self.read_authorization)
        except (OSError, ConfigError) as exc:
            raise Transient(f"cannot read the credentials: {first_line(exc)}") from exc
        self._read_at = monotonic()


def is_in_pod(environment: Mapping[str, str]) -> bool:
    return bool(environment.get("KUBERNETES_SERVICE_HOST"))


def in_pod(environment: Mapping[str, str], folder: Path = POD_FOLDER) -> Access:
    """The service account that Kubernetes mounts into every pod. ConfigError names the file that is missing."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    token_file, ca_file, namespace_file = folder / "token", folder / "ca.crt", folder / "namespace"

    def read_authorization() -> str | None:
        return f"Bearer {token_file.read_text().strip()}"

    try:
        read_authorization()
        tls = ssl.create_default_context(cafile=str(ca_file))
        own_namespace = namespace_file.read_text().strip() if namespace_file.exists() else None
    except OSError as exc:
        raise ConfigError(
            f"This looks like a pod (KUBERNETES_SERVICE_HOST is set) but {exc.filename or ca_file} cannot be read: {exc.strerror}. "
            "Set automountServiceAccountToken: true, or name a cluster with --kubeconfig."
        ) from exc
    return Access(server, tls, f"{server} (the pod's service account)", read_authorization, own_namespace=own_namespace)


def from_kubeconfig(file: str | None, context: str | None) -> Access:
    """What kubectl would use with --kubeconfig and --context. ConfigError: the file cannot be used."""
    # Imported here: 16 MB that a pod does not need.
    from kubernetes import config  # noqa: PLC0415
    from kubernetes.client import Configuration  # noqa: PLC0415
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415
    from yaml import YAMLError  # noqa: PLC0415

    where = file or os.environ.get("KUBECONFIG", "~/.kube/config")

    def load() -> Any:
        configuration = Configuration()
        try:
            _require_mappings(where)
            config.load_kube_config(config_file=where, context=context, client_configuration=configuration, persist_config=False)
        except (ConfigException, YAMLError, OSError, ValueError) as exc:
            raise ConfigError(f"The kubeconfig {where} cannot be used: {first_line(exc)}") from exc
        except (KeyError, TypeError, AttributeError) as exc:
            # The library trusts the form of the file: its message is about its own code.
            reason = "a part of it has another form than kubectl expects; compare it with what kubectl config view prints"
            raise ConfigError(f"The kubeconfig {where} cannot be used: {reason}") from exc
        return configuration

    loaded = load()

    def start_over() -> None:
        # The library reads a tokenFile only once, and trusts an expiry time: load everything again after a 401.
        nonlocal loaded
        loaded = load()

    def read_authorization() -> str | None:
        header = loaded.get_api_key_with_prefix("BearerToken")
        return str(header) if header else loaded.get_basic_auth_token() if loaded.username else None

    which = f"context {context}" if context else "the current context"
    return Access(
        loaded.host.rstrip("/"),
        _tls_of(loaded),
        f"{loaded.host} ({which} of {where})",
        read_authorization,
        start_over,
        server_name=loaded.tls_server_name,
        proxy=loaded.proxy,
    )


def _require_mappings(files: str) -> None:
    """ConfigError unless each file that is there is YAML, and a mapping. files: as in KUBECONFIG."""
    from yaml import safe_load  # noqa: PLC0415

    for name in filter(None, files.split(os.pathsep)):
        path = Path(name).expanduser()
        if not path.is_file():
            # The library names what is missing, and accepts that some are.
            continue
        try:
            with path.open(encoding="utf-8") as opened:
                content = safe_load(opened)
        except UnicodeDecodeError as exc:
            raise ConfigError(f"The kubeconfig {name} cannot be used: it is no text") from exc
        if not isinstance(content, Mapping):
            form = "is empty" if content is None else f"is a {'list' if isinstance(content, list) else 'single value'}"
            raise ConfigError(f"The kubeconfig {name} cannot be used: it {form}, and no mapping with clusters, users and contexts")


def _tls_of(configuration: Any) -> ssl.SSLContext | bool:
    if not configuration.host.startswith("https"):
        return False
    try:
        tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            tls.load_cert_chain(configuration.cert_file, configuration.key_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"The certificates of the kubeconfig cannot be read: {first_line(exc)}") from exc
    if not configuration.verify_ssl:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    return tls
