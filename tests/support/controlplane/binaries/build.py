"""Build etcd, kube-apiserver, kube-controller-manager and kubectl once, and keep them.

In: go.mod and go.sum in the folder above, or KUBEBUILDER_ASSETS.  Out: paths of the binaries.
Owns: one folder per recipe below the user's cache folder.
Stops: interrupted, it leaves a `.partial` folder at most, which the next build removes.
"""

import contextlib
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.controlplane.binaries.compiler import ensure_go
from tests.support.controlplane.binaries.recipe import GO_ENV, HERE, TOOLS, build_flags, cache_folder, cache_key, kubernetes_version
from tests.support.controlplane.commands.say import Say, say_on_terminal
from tests.support.controlplane.errors import BuildError
from tests.support.controlplane.processes import spawn

REQUIRED = ("etcd", "kube-apiserver", "kubectl")
REPORT_EVERY_SECS = 15.0
TAIL_LINES = 25


@dataclass(frozen=True)
class Binaries:
    etcd: Path
    kube_apiserver: Path
    # The envtest assets have none; without it no namespace is deleted and no object is garbage-collected.
    kube_controller_manager: Path | None
    kubectl: Path
    version: str


def ensure_binaries(say: Say = say_on_terminal) -> Binaries:
    """Return the binaries of KUBEBUILDER_ASSETS, else those of the cache, else build them in about five minutes."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _from_assets(Path(assets), say)
    folder = cache_folder() / cache_key()
    if not folder.exists():
        with _building_alone(folder.parent, say):
            # The process that held the lock before us may have built it.
            if not folder.exists():
                _build(folder, say)
    return _in_folder(folder, kubernetes_version())


def _in_folder(folder: Path, version: str) -> Binaries:
    manager = folder / "kube-controller-manager"
    return Binaries(
        etcd=folder / "etcd",
        kube_apiserver=folder / "kube-apiserver",
        kube_controller_manager=manager if manager.exists() else None,
        kubectl=folder / "kubectl",
        version=version,
    )


def _from_assets(folder: Path, say: Say) -> Binaries:
    missing = [name for name in REQUIRED if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BuildError(
            f"KUBEBUILDER_ASSETS is {folder}, but it has no executable {', '.join(missing)}. "
            "Point it to a folder with all of them, or unset it and they are built with Go."
        )
    printed = subprocess.run([folder / "kube-apiserver", "--version"], capture_output=True, text=True, check=True)
    binaries = _in_folder(folder.resolve(), printed.stdout.strip().rpartition("v")[2])
    say(f"Using etcd, kube-apiserver {binaries.version} and kubectl from KUBEBUILDER_ASSETS ({folder}).")
    if binaries.kube_controller_manager is None:
        say("It has no kube-controller-manager: deleted namespaces will stay Terminating.")
    return binaries


@contextlib.contextmanager
def _building_alone(cache: Path, say: Say) -> Iterator[None]:
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another run is building the control plane: waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(folder: Path, say: Say) -> None:
    """The folder appears with the last step, a rename, so it is never incomplete."""
    # We hold the lock, so every partial folder is left over from a killed build.
    for leftover in folder.parent.glob("*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    go = ensure_go(say)
    say(f"Building etcd, kube-apiserver, kube-controller-manager and kubectl {kubernetes_version()} with {go}:")
    say("about five minutes on two cores, once; afterwards they come from " + str(folder))
    partial = Path(tempfile.mkdtemp(prefix=folder.name + "-", suffix=".partial", dir=folder.parent))
    began = time.monotonic()
    try:
        _go_build(go, partial, say)
        binaries = partial / "bin"
        (binaries / "server").rename(binaries / "etcd")
        binaries.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    say(f"Built in {duration(time.monotonic() - began)}.")


def _go_build(go: Path, into: Path, say: Say) -> None:
    # -v writes one line per compiled package: the only progress that go reports.
    command: list[str | Path] = [go, "build", "-v", *build_flags(), "-o", f"{into / 'bin'}{os.sep}", *TOOLS]
    # Its work folder is removed with ours, even if it is killed.
    workspace = into / "work"
    workspace.mkdir()
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        build = spawn(command, cwd=HERE, env=os.environ | GO_ENV | {"GOTMPDIR": str(workspace)}, output=output)
        try:
            while build.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    build.wait(REPORT_EVERY_SECS)
                    break
                compiled = os.pread(output.fileno(), 1 << 24, 0).count(b"\n")
                say(f"  {duration(time.monotonic() - began)}: {compiled} packages compiled")
        finally:
            # Kill the whole session: go's compilers and linkers would keep running without it.
            if build.poll() is None:
                os.killpg(build.pid, signal.SIGKILL)
                build.wait()
        output.seek(0)
        if build.returncode != 0:
            raise BuildError(_advice(output.read(), build.returncode))


def _advice(output: str, code: int) -> str:
    lines = [line for line in output.splitlines() if not re.fullmatch(r"[\w.~/-]+", line)]
    return "\n".join(
        [
            f"go build ended with {code}. The last lines it wrote:",
            *(f"  {line}" for line in lines[-TAIL_LINES:]),
            "If a download failed, check the network and GOPROXY and run it again (what is compiled is kept);",
            "if it was killed, free some memory and disk; or set KUBEBUILDER_ASSETS to a folder with " + ", ".join(REQUIRED) + ".",
        ]
    )


def duration(secs: float) -> str:
    """`42 s`, `3 min 5 s`."""
    minutes, rest = divmod(round(secs), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
