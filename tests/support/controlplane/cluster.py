"""One control plane: processes, certificates and a kubectl that knows no other cluster.

In: options and the built binaries.  Out: kubeconfig files, namespaces, service accounts, kubectl's answers.
Owns: etcd, kube-apiserver, kube-controller-manager, and one temp folder with all they write.
Stops: stop(), the end of the with block, or the end of the interpreter; if this process is killed, its children die, too.
"""

import atexit
import contextlib
import http.client
import os
import ssl
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.controlplane.audit import read_audit_log
from tests.support.controlplane.binaries.build import Binaries, ensure_binaries
from tests.support.controlplane.binaries.recipe import HERE
from tests.support.controlplane.commands.say import Say, say_on_terminal
from tests.support.controlplane.components import Layout, Options, apiserver_command, controllers_command, etcd_command
from tests.support.controlplane.errors import KubectlError, StartError
from tests.support.controlplane.folder import ClusterFolder
from tests.support.controlplane.identity import Identity, PodFiles, kubeconfig_text, write_pod_files
from tests.support.controlplane.pki import Pki
from tests.support.controlplane.processes import Child, free_ports

TRIVY_CRDS = HERE / "tool-crds" / "trivy.yaml"
# It needs 4 s on two idle cores; the rest is for a machine that is busy with other tests.
READY_WITHIN_SECS = 90.0
STOP_WITHIN_SECS = 5.0
KUBECTL_WITHIN_SECS = 120.0
TOKEN_VALID_HOURS = 24


class ControlPlane:
    """Its methods block. Start it from the main thread: the children die with the thread that started them."""

    def __init__(self, binaries: Binaries, options: Options) -> None:
        self.binaries = binaries
        self.options = options
        self.admin = Identity("admin")
        self._folder = ClusterFolder()
        self._children: dict[str, Child] = {}
        self.folder = self._folder.path
        self._pki = Pki(self.folder / "pki")
        self._layout = Layout(self.folder, *free_ports(3))

    @classmethod
    def start(cls, options: Options | None = None, *, say: Say = say_on_terminal) -> Self:
        """Return when the API server is ready. On failure remove everything and raise an error with the end of its log."""
        options = options or Options()
        control_plane = cls(ensure_binaries(say), options)
        atexit.register(control_plane.stop)
        try:
            control_plane._start_all(say)
        except BaseException:
            control_plane.stop()
            raise
        return control_plane

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop the clients of etcd first, etcd last. The second call does nothing."""
        for name in reversed(list(self._children)):
            self._children.pop(name).stop(deadline_secs=STOP_WITHIN_SECS)
        self._folder.remove()
        atexit.unregister(self.stop)

    def failure(self) -> str | None:
        """Return a sentence if one of the processes ended by itself."""
        return next((failure for child in self._children.values() if (failure := child.failure())), None)

    # -- processes

    def stop_apiserver(self) -> None:
        """Kill the API server, as a crash does; etcd and its content stay."""
        self._children["kube-apiserver"].stop(deadline_secs=0)

    def start_apiserver(self) -> None:
        """Start it on the same port, with the same etcd and certificates; return when it is ready."""
        command = apiserver_command(self.binaries, self._layout, self.options, self._pki)
        self._start("kube-apiserver", command)
        self._wait_until_ready()

    def serving_certificate(self) -> tuple[Path, Path, Path]:
        """Return a certificate for the loopback, its key, and its authority, which the API server trusts for webhooks."""
        return self._pki.server_cert_file, self._pki.server_key_file, self._pki.ca_file

    def _start_all(self, say: Say) -> None:
        began = time.monotonic()
        manager = self.binaries.kube_controller_manager if self.options.controllers else None
        names = "etcd and kube-apiserver" if manager is None else "etcd, kube-apiserver and kube-controller-manager"
        say(f"Starting {names} {self.binaries.version} ...")
        self._layout.log_file("any").parent.mkdir()
        self.admin = Identity("admin", certificate=self._pki.client("admin", "system:masters"))
        self._start("etcd", etcd_command(self.binaries, self._layout, self.options))
        self.start_apiserver()
        if manager is not None:
            user = "system:kube-controller-manager"
            kubeconfig = self.kubeconfig(Identity(user, certificate=self._pki.client(user)))
            self._start("kube-controller-manager", controllers_command(manager, self._pki, kubeconfig))
        say(f"Ready in {time.monotonic() - began:.1f} s on {self.server}.")

    def _start(self, name: str, command: list[str | Path]) -> None:
        self._children[name] = Child(name, command, log=self._layout.log_file(name), env=self._clean_env())

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_SECS
        while not self._is_ready():
            failure = self.failure()
            if failure is None and time.monotonic() > deadline:
                failure = f"kube-apiserver was not ready within {READY_WITHIN_SECS:.0f} s."
                failure += "".join(child.tail() for child in self._children.values())
            if failure is not None:
                raise StartError(failure)
            time.sleep(0.1)

    def _is_ready(self) -> bool:
        tls = ssl.create_default_context(cadata=self._pki.ca_pem.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", self._layout.apiserver_port, timeout=5, context=tls)
        # Anonymous requests may read /readyz, but only when the roles exist: before that the answer is 403.
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        return False

    # -- identities

    @property
    def server(self) -> str:
        return self._layout.server

    @property
    def ca_file(self) -> Path:
        return self._pki.ca_file

    def kubeconfig(self, identity: Identity | None = None) -> Path:
        """Return the kubeconfig file of this identity; None: of the admin."""
        identity = identity or self.admin
        path = self.folder / "kubeconfigs" / f"{identity.name.replace(':', '-')}.yaml"
        if not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(kubeconfig_text(identity, server=self.server, ca_pem=self._pki.ca_pem))
        return path

    def service_account(self, namespace: str, name: str) -> Identity:
        """Create the account if it is missing, without rights. The token is new each time and valid for 24 hours."""
        if not self.kubectl("get", "serviceaccount", name, "-n", namespace, "--ignore-not-found", "-o", "name"):
            self.kubectl("create", "serviceaccount", name, "-n", namespace)
        token = self.kubectl("create", "token", name, "-n", namespace, f"--duration={TOKEN_VALID_HOURS}h").strip()
        # Kubeconfig files have this name; a name per token, because a file must not change while a process reads it.
        return Identity(f"{namespace}-{name}-{uuid.uuid4().hex[:6]}", namespace=namespace, token=token)

    def in_pod(self, namespace: str, name: str) -> PodFiles:
        """Return the files and variables that a pod of this service account finds."""
        identity = self.service_account(namespace, name)
        folder = self.folder / "pods" / identity.name
        return write_pod_files(folder, identity, ca_pem=self._pki.ca_pem, port=self._layout.apiserver_port)

    # -- objects

    def kubectl(self, *args: str | Path, stdin: str | None = None, identity: Identity | None = None) -> str:
        """Return stdout; raise KubectlError with stderr if kubectl fails."""
        env = self._clean_env() | {"KUBECONFIG": str(self.kubeconfig(identity))}
        called = f"kubectl {' '.join(map(str, args))}"
        try:
            ended = subprocess.run(
                [self.binaries.kubectl, *args],
                env=env,
                input=stdin or "",
                capture_output=True,
                text=True,
                check=False,
                timeout=KUBECTL_WITHIN_SECS,
            )
        except subprocess.TimeoutExpired as exc:
            raise KubectlError(f"{called} did not end within {KUBECTL_WITHIN_SECS:.0f} s", "") from exc
        if ended.returncode != 0:
            dead = self.failure()
            message = f"{called} ended with {ended.returncode}: {ended.stderr.strip()}"
            raise KubectlError(message if dead is None else f"{message}\n{dead}", ended.stderr)
        return ended.stdout

    def namespace(self, prefix: str = "test") -> str:
        """Create a new namespace and return its name."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        return name

    def apply_crds(self, manifest: Path | str) -> None:
        """Apply a file, a folder, or a YAML text; return when the API server serves the new kinds."""
        if isinstance(manifest, Path):
            applied = self.kubectl("apply", "-f", manifest, "-o", "name")
        else:
            applied = self.kubectl("apply", "-f", "-", "-o", "name", stdin=manifest)
        crds = applied.split()
        self.kubectl("wait", "--for=condition=Established", "--timeout=60s", *crds)
        # Established is too early: until the API server's cache is full, a list gets 429 (storage is initializing), which kubectl retries.
        self.kubectl("get", ",".join(crd.partition("/")[2] for crd in crds), "--all-namespaces", "--output=name")

    def audit_events(self) -> Iterator[dict[str, Any]]:
        """Yield the requests so far, oldest first; needs Options(audit_log=True)."""
        assert self.options.audit_log, "started without audit_log"
        return read_audit_log(self._layout.audit_log_file)

    def _clean_env(self) -> dict[str, str]:
        # HOME has kubectl's discovery cache: the user's own may have the kinds of an earlier cluster on this port.
        # No proxy settings: everything here is on loopback.
        return {"HOME": str(self.folder), "PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(self.folder)}
