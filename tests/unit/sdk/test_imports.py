"""Watchers import only zenwatch.sdk, so everything else inside zenwatch may change; zenwatch finds watchers only by entry points."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from zenwatch import sdk

# The docstring of zenwatch.sdk names them.
SUBMODULES = {"fields", "input_files", "testing"}
ALLOWED = {"zenwatch.sdk", *(f"zenwatch.sdk.{name}" for name in SUBMODULES)}
WATCHERS = sorted((ROOT / "watchers").rglob("*.py"))
DOCUMENT = ROOT / "watchers" / "ADDING_A_WATCHER.md"
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def imports_in(code: str, *, package: str = "zenwatch") -> Iterator[tuple[str, set[str]]]:
    """Every module of the package that the code imports, and the names that it imports from that module."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, set()) for alias in node.names if alias.name.partition(".")[0] == package)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == package:
            yield str(node.module), {alias.name for alias in node.names}


@pytest.mark.parametrize("file", WATCHERS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_watcher_imports_only_the_sdk(file: Path) -> None:
    """Also the watchers in this repository: they are examples for others."""
    assert {module for module, _ in imports_in(file.read_text(encoding="utf-8"))} <= ALLOWED


def test_zenwatch_imports_no_watcher() -> None:
    """The watchers in this repository have no privilege over those of other packages."""
    importing = [
        file for file in (ROOT / "zenwatch").rglob("*.py") if any(imports_in(file.read_text(encoding="utf-8"), package="watchers"))
    ]

    assert importing == []


def test_the_document_for_authors_imports_only_the_sdk() -> None:
    """The example and its tests need nothing else."""
    imported = {module for block in PYTHON_BLOCKS for module, _ in imports_in(block)}

    assert {"zenwatch.sdk", "zenwatch.sdk.testing"} <= imported <= ALLOWED


def test_watchers_import_only_names_that_the_sdk_exports() -> None:
    """A name that is missing in __all__ may disappear."""
    imported = {
        name
        for file in WATCHERS
        for module, names in imports_in(file.read_text(encoding="utf-8"))
        if module == "zenwatch.sdk"
        for name in names
    }

    assert imported <= {*sdk.__all__, *SUBMODULES}


def test_the_sdk_documents_its_submodules() -> None:
    """An author finds them in the docstring."""
    assert set(re.findall(r"zenwatch\.sdk\.(\w+)", sdk.__doc__ or "")) == SUBMODULES
