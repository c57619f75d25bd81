"""constraints.txt is complete: whatever a pinned package requires is pinned too, so an install has nothing to resolve."""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import hatchling.build
import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.support.controlplane.binaries import compiler
from tests.support.lock.lock_file import CONSTRAINTS, Pin, pins
from tests.support.lock.pips import LOCK_FILES
from tests.support.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLATFORMS = {"linux": ("Linux", "x86_64"), "darwin": ("Darwin", "arm64")}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def environment(python: str, platform: str) -> dict[str, str]:
    system, machine = PLATFORMS[platform]
    return {key: str(value) for key, value in default_environment().items()} | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": platform,
        "platform_system": system,
        "platform_machine": machine,
    }


def installed_here(text: str, env: dict[str, str]) -> dict[NormalizedName, Pin]:
    return {pin.name: pin for pin in pins(text) if pin.marker is None or pin.marker.evaluate(env)}


def applies(requirement: Requirement, env: dict[str, str], extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate(env | {"extra": extra})


def required_by(requirement: Requirement, env: dict[str, str]) -> Iterator[Requirement]:
    """What the installed package asks for, with the extras it is asked with; nothing where this platform does not install it."""
    try:
        stated = importlib.metadata.requires(requirement.name) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for text in stated:
        child = Requirement(text)
        if any(applies(child, env, extra) for extra in ("", *requirement.extras)):
            yield child


def missing(roots: list[str], env: dict[str, str], lock: dict[NormalizedName, Pin]) -> list[str]:
    """What is required, directly or by another, and is not pinned to a version that satisfies it."""
    open_requirements = [requirement for requirement in map(Requirement, roots) if applies(requirement, env)]
    seen: set[str] = set()
    found: list[str] = []
    while open_requirements:
        requirement = open_requirements.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        pin = lock.get(canonicalize_name(requirement.name))
        if pin is None or not requirement.specifier.contains(pin.version, prereleases=True):
            found.append(str(requirement))
        open_requirements += required_by(requirement, env)
    return found


def group(name: str) -> list[str]:
    return list(PYPROJECT["dependency-groups"][name])


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_what_is_required_is_pinned(python: str, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By zenwatch, by its tests, by its build backend, and by what those require: `pip install --no-deps` leaves nothing out."""
    monkeypatch.chdir(ROOT)
    env = environment(python, platform)
    build: list[str] = [*PYPROJECT["build-system"]["requires"], *hatchling.build.get_requires_for_build_editable()]
    roots = [*PYPROJECT["project"]["dependencies"], *group("dev"), *build]

    assert missing(roots, env, installed_here(CONSTRAINTS.read_text(), env)) == []


@pytest.mark.parametrize("python", PYTHONS)
def test_the_compiler_and_the_pips_are_pinned(python: str) -> None:
    """Each in a lock file of its own, because they are not installed with the rest."""
    env = environment(python, "linux")
    lock_files: dict[str, list[Any]] = {"go": [compiler.CONSTRAINTS], "pip": [*LOCK_FILES.values()]}

    for name, files in lock_files.items():
        for file in files:
            assert missing(group(name), env, installed_here(file.read_text(), env)) == [], file.name


def test_a_package_without_a_pin_is_found() -> None:
    """Prove that the search above works: only pytest-cov requires coverage, as coverage[toml]."""
    env = environment("3.11", "linux")
    lock = installed_here(CONSTRAINTS.read_text(), env)
    del lock[canonicalize_name("coverage")]

    assert [Requirement(text).name for text in missing(group("dev"), env, lock)] == ["coverage"]


def test_every_lock_file_is_installed_with_the_same_flags() -> None:
    """In two files, because the Makefile works before there is a Python to import from."""
    [flags] = re.findall(r"^PINNED := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)

    assert tuple(flags.split()) == compiler.PINNED
