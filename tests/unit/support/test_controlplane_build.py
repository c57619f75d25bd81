"""The parts of the control plane's build that need no compiler."""

from pathlib import Path

import pytest

from tests.support.controlplane import BuildError, ensure_binaries
from tests.support.controlplane.binaries import recipe
from tests.support.controlplane.binaries.build import duration
from tests.support.controlplane.binaries.compiler import parse_go_version


def executable(path: Path, text: str = "#!/bin/sh\n") -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27rc1 darwin/arm64", (1, 27)),
        ("go version devel +a1b2c3", (0, 0)),
        ("", (0, 0)),
    ],
)
def test_a_go_version_is_read_and_an_unreadable_one_is_too_old(line: str, version: tuple[int, int]) -> None:
    """A compiler of an unknown version is never used."""
    assert parse_go_version(line) == version


def test_versions_come_from_go_mod_alone() -> None:
    """Only go.mod has the number; the flags and the cache key follow it."""
    version = recipe.kubernetes_version()
    assert f"k8s.io/kubernetes v{version}" in (recipe.HERE / "go.mod").read_text()
    assert f"gitVersion=v{version}" in " ".join(recipe.build_flags())
    assert recipe.cache_key().startswith(f"{version}-")
    with pytest.raises(KeyError):
        recipe.module_version("example.com/unknown")


def test_another_recipe_has_another_cache_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Binaries of another recipe are never used in place of these."""
    before = recipe.cache_key()
    monkeypatch.setitem(recipe.GO_ENV, "CGO_ENABLED", "1")
    assert recipe.cache_key() != before


def test_the_cache_is_where_xdg_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty variable counts as unset."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert recipe.cache_folder() == tmp_path / "zenwatch" / "controlplane"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "/home/someone")
    assert recipe.cache_folder() == Path("/home/someone/.cache/zenwatch/controlplane")


def test_missing_assets_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One sentence names all missing files."""
    executable(tmp_path / "kube-apiserver")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(BuildError, match="no executable etcd, kubectl"):
        ensure_binaries()


def test_assets_without_controllers_are_used_and_a_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The envtest assets have no kube-controller-manager."""
    for name in ("etcd", "kubectl"):
        executable(tmp_path / name)
    executable(tmp_path / "kube-apiserver", "#!/bin/sh\necho Kubernetes v1.35.0\n")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    lines: list[str] = []
    binaries = ensure_binaries(lines.append)
    assert binaries.version == "1.35.0"
    assert binaries.kube_controller_manager is None
    assert any("no kube-controller-manager" in line for line in lines)


@pytest.mark.parametrize(("secs", "text"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (272, "4 min 32 s")])
def test_a_duration_is_in_minutes_and_seconds(secs: float, text: str) -> None:
    """It is rounded first, so that there are never 60 seconds."""
    assert duration(secs) == text
