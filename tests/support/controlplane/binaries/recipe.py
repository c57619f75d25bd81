"""How the four binaries are built: all that the cache key depends on. Only go.mod has the versions."""

import hashlib
import os
import re
from pathlib import Path

# Where go.mod, go.sum and tool-crds/ are.
HERE = Path(__file__).parents[1]

# Package to build -> name of the binary that go build makes of it.
TOOLS = {
    "go.etcd.io/etcd/server/v3": "server",
    "k8s.io/kubernetes/cmd/kube-apiserver": "kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager": "kube-controller-manager",
    "k8s.io/kubernetes/cmd/kubectl": "kubectl",
}
GO_ENV = {
    # Go must not download another compiler: the pinned wheel replaces one that is too old.
    "GOTOOLCHAIN": "local",
    "GOFLAGS": "-mod=readonly -buildvcs=false",
    "GOWORK": "off",
    "CGO_ENABLED": "0",
}


def module_version(module: str) -> str:
    """Return the version that go.mod requires, without the v; KeyError: it requires none."""
    found = re.search(rf"^(?:require )?\s*{re.escape(module)} v(\S+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise KeyError(f"go.mod does not require {module}")
    return found[1]


def kubernetes_version() -> str:
    return module_version("k8s.io/kubernetes")


def oldest_go() -> tuple[int, int]:
    found = re.search(r"^go (\d+)\.(\d+)", (HERE / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise KeyError("go.mod has no go line")
    return int(found[1]), int(found[2])


def build_flags() -> list[str]:
    """Without a version in its binary, an API server reports v0.0.0 and kubectl warns about the skew."""
    version = kubernetes_version()
    major, minor, _ = version.split(".", 2)
    package = "k8s.io/component-base/version"
    stamps = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    ldflags = " ".join(["-s", "-w", *(f"-X {package}.{name}={stamp}" for name, stamp in stamps.items())])
    return ["-trimpath", "-ldflags", ldflags]


def cache_key() -> str:
    """`<kubernetes version>-<hash>`: another go.mod, go.sum or recipe is another folder."""
    digest = hashlib.sha256()
    for part in ((HERE / "go.mod").read_text(), (HERE / "go.sum").read_text(), repr((TOOLS, GO_ENV, build_flags()))):
        digest.update(part.encode())
    return f"{kubernetes_version()}-{digest.hexdigest()[:12]}"


def cache_folder() -> Path:
    """Holds one folder per cache key; survives `make clean`."""
    # An empty XDG_CACHE_HOME counts as unset, says its specification.
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "zenwatch" / "controlplane"
