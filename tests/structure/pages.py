"""Read the tables of a Markdown page, and from the code what such tables describe.

A table is a list of rows; a row maps the head of each column to its cell. Names stand in code font.
"""

import ast
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import watchers
from tests.support.paths import ROOT
from zenwatch.model.finding import FindingType, Severity

DOCS = ROOT / "docs"
RECORDS, SEVERITY, SPECIFICATION = (DOCS / f"{page}.md" for page in ("records", "severity", "specification"))
PAGES = sorted(DOCS.glob("*.md"))

Row = dict[str, str]


# ---------------------------------------------------------------- pages


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def section(page: Path, heading: str) -> str:
    """The text between a heading and the next heading of any level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no section {heading}"
    return found[1]


def tables(page: Path, heading: str) -> list[list[Row]]:
    found = re.findall(r"(?:^\|.*\n)+", section(page, heading) + "\n", re.MULTILINE)
    assert found, f"{page.name}, {heading}: no table"
    grids = [[[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines()] for text in found]
    return [[dict(zip(grid[0], cells, strict=True)) for cells in grid[2:]] for grid in grids]


def table(page: Path, heading: str) -> list[Row]:
    """The first table of a section."""
    return tables(page, heading)[0]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def name(cell: str) -> str:
    """The first name in a cell; empty where there is none."""
    return names(cell)[0] if names(cell) else ""


# ---------------------------------------------------------------- code


@cache
def watcher_modules() -> list[ModuleType]:
    return [import_module(found.name) for found in pkgutil.walk_packages(watchers.__path__, "watchers.")]


def values_in(module: ModuleType) -> Iterator[Any]:
    """The values of a module, and those of its mappings and tuples."""
    for value in vars(module).values():
        yield value
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()


def finding_types() -> set[FindingType]:
    """The types of finding that the watchers declare."""
    return {value for module in watcher_modules() for value in values_in(module) if isinstance(value, FindingType)}


def nodes_in(folder: str) -> Iterator[ast.AST]:
    """The syntax of all files of a folder."""
    for file in sorted((ROOT / folder).rglob("*.py")):
        yield from ast.walk(ast.parse(file.read_text(encoding="utf-8")))


@cache
def self_findings() -> dict[str, tuple[set[str], set[str]]]:
    """The findings about zenwatch itself: by topic, the severities and the details that the code gives them."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for call in (node for node in nodes_in("zenwatch") if isinstance(node, ast.Call)):
        arguments = {keyword.arg: keyword.value for keyword in call.keywords}
        if not isinstance(topic := arguments.get("topic"), ast.Constant):
            continue
        of_severity = (node.attr for node in ast.walk(arguments["severity"]) if isinstance(node, ast.Attribute))
        keys = getattr(arguments.get("details"), "keys", ())
        details = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
        found[str(topic.value)] = ({word for word in of_severity if word in Severity.__members__}, details)
    return found
