"""What `make` does first in a fresh clone, against a package index that has a newer release of every package."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from tests.support.controlplane.processes import free_ports
from tests.support.lock.lock_file import CONSTRAINTS
from tests.support.lock.package_index import PackageIndex, wheel_name
from tests.support.lock.pips import LOCK_FILES, pip_wheel
from tests.support.paths import ROOT

PATIENCE_SECS = 120.0
# A zenwatch that is quick to install: the build backend is the index's.
PYPROJECT = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n\n[project]\nname = "zenwatch"\nversion = "0"\n'
# As the Python of this test, but the environments that it makes hold the pip under test.
PYTHON = """#!/bin/sh
[ "$2" = venv ] || exec {python} "$@"
{python} -m venv --without-pip "$3" && exec ln -s {pip}/* "$3"/lib/python*/site-packages
"""


@dataclass
class Clone:
    """The folder in which somebody types make, and the Python that they have."""

    folder: Path
    python: Path

    def make(self, index_url: str) -> "subprocess.CompletedProcess[str]":
        """PIP_RETRIES only saves time: the index is on loopback."""
        # make and pip read settings from the environment; those of the person who runs this test would change the result.
        inherited = {name: value for name, value in os.environ.items() if not re.match("MAKE|MFLAGS|PIP_|.*_proxy$", name, re.IGNORECASE)}
        env = inherited | {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": index_url, "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
        command = ["make", ".venv/ready", f"PYTHON={self.python}"]
        return subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=PATIENCE_SECS, check=False)

    def installed(self) -> dict[str, str]:
        [site_packages] = self.folder.glob(".venv/lib/python*/site-packages")
        found = importlib.metadata.distributions(path=[str(site_packages)])
        return {canonicalize_name(distribution.name): distribution.version for distribution in found}


def clone(folder: Path, lock_text: str, pip: Path) -> Clone:
    """With the Makefile of this project, and a Python that brings the unpacked pip."""
    folder.mkdir()
    for package in ("zenwatch", "watchers", "tests"):
        (folder / package).mkdir()
    (folder / "constraints.txt").write_text(lock_text)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    shutil.copy(ROOT / "Makefile", folder)
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, pip=pip))
    python.chmod(0o755)
    return Clone(folder, python)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    """All of constraints.txt, in the pinned and in a newer version."""
    index = PackageIndex(tmp_path_factory.mktemp("index"), CONSTRAINTS.read_text())
    with index.serving():
        yield index


@pytest.fixture(scope="module")
def pips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Unpacked once, and linked into every environment: what Python compiles for the first is there for the next."""
    folder = tmp_path_factory.mktemp("pips")
    for age in LOCK_FILES:
        with zipfile.ZipFile(pip_wheel(age)) as wheel:
            wheel.extractall(folder / age)
    return {age: folder / age for age in LOCK_FILES}


@pytest.mark.parametrize("age", LOCK_FILES)
def test_newer_releases_change_nothing(age: str, pips: dict[str, Path], index: PackageIndex, tmp_path: Path) -> None:
    """The pinned versions are installed, and nothing else is even fetched, by the oldest pip and by the newest."""
    index.fetched.clear()
    fresh = clone(tmp_path / "clone", index.lock_text, pips[age])
    pinned = {pin.name: pin.version for pin in index.pins if pin.marker is None or pin.marker.evaluate()}

    made = fresh.make(index.url)

    assert made.returncode == 0, made.stderr
    found = fresh.installed()
    assert found.pop("pip") in pip_wheel(age).name
    assert found.pop("zenwatch") == "0"
    assert found == pinned
    assert sorted(index.fetched) == sorted(wheel_name(name, version) for name, version in pinned.items())


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="every pip that runs on this Python accepts coverage for coverage[toml]")
def test_a_pip_that_resolves_stops_at_a_newer_release(pips: dict[str, Path], index: PackageIndex, tmp_path: Path) -> None:
    """Prove that the index above is a trap: without --no-deps, an old pip looks for coverage[toml] although coverage is pinned."""
    fresh = clone(tmp_path / "clone", index.lock_text, pips["oldest"])
    makefile = fresh.folder / "Makefile"
    makefile.write_text(makefile.read_text().replace("--require-hashes --no-deps", "--require-hashes"))

    made = fresh.make(index.url)

    assert made.returncode != 0
    assert "coverage[toml]" in made.stderr


def test_another_hash_is_refused_and_the_message_names_the_remedy(pips: dict[str, Path], index: PackageIndex, tmp_path: Path) -> None:
    """pip says what is wrong, the Makefile what to type. The next make tries again."""
    wrong = re.sub("sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", index.lock_text, count=1)

    made = clone(tmp_path / "clone", wrong, pips["newest"]).make(index.url)

    assert made.returncode != 0
    assert "0" * 64 in made.stderr
    assert "make constraints" in made.stderr
    assert not (tmp_path / "clone" / ".venv" / "ready").exists()


def test_without_a_connection_the_settings_that_help_are_named(pips: dict[str, Path], index: PackageIndex, tmp_path: Path) -> None:
    """pip itself only says that it found no version."""
    [port] = free_ports(1)

    made = clone(tmp_path / "clone", index.lock_text, pips["newest"]).make(f"http://127.0.0.1:{port}/")

    assert made.returncode != 0
    assert "HTTPS_PROXY" in made.stderr
    assert "PIP_INDEX_URL" in made.stderr
