"""README and Makefile are right about settings and commands."""

import re
import subprocess

from tests.support.paths import ROOT
from zenwatch.cli.settings import rows as settings_rows

README = (ROOT / "README.md").read_text()


def test_the_readme_lists_every_setting() -> None:
    """Name, default, accepted values and meaning, in the order of `zenwatch settings`."""
    rows = [
        f"| `{name}` | {f'`{default}`' if default else ''} | {accepts} | {meaning} |"
        for name, _, default, accepts, meaning in settings_rows()
    ]
    assert [line for line in README.splitlines() if line.startswith("| `")] == rows


def test_every_make_target_in_the_documents_exists() -> None:
    """A reader can type every command of these documents."""
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake (\w+)", text)) <= targets


def test_make_alone_lists_the_targets() -> None:
    """A new user types `make` first."""
    printed = subprocess.run(["make", "-C", str(ROOT), "--no-print-directory"], capture_output=True, text=True, check=True).stdout
    for target in ("run", "test", "check", "cluster", "bench"):
        assert re.search(rf"^  {target} +\w", printed, re.MULTILINE), printed


def test_every_relative_link_of_the_documents_exists() -> None:
    """Links to other sites are not checked."""
    for document in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "zenwatch" / "ARCHITECTURE.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if not link.startswith("http"):
                assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_every_file_and_function_of_the_walk_exists() -> None:
    """ARCHITECTURE.md names the files and functions from a report to its record."""
    text = (ROOT / "zenwatch" / "ARCHITECTURE.md").read_text()
    code = "\n".join(path.read_text() for folder in ("zenwatch", "watchers") for path in (ROOT / folder).rglob("*.py"))
    walk = text.partition("## From")[2].partition("## What holds")[0]
    for word in re.findall(r"`([^`]+)`", walk):
        if "/" in word:
            assert any((ROOT / folder / word).exists() for folder in ("zenwatch", ".")), word
        elif word.isidentifier() and word.islower() and word != "merge":
            assert f"def {word}" in code, word
        elif "." in word and not word.endswith(".py"):
            assert f"def {word.rpartition('.')[2]}" in code, word
