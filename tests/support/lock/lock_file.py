"""Read a lock file: which version of each package it pins, and on which platforms."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from packaging.markers import Marker
from packaging.utils import NormalizedName, canonicalize_name

from tests.support.paths import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
# A first line such as `aiohttp==3.14.5 ; python_version < '3.12' \`, then a line per hash.
_ENTRY = re.compile(
    r"^(?P<head>(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))?) \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE
)


@dataclass(frozen=True)
class Pin:
    name: NormalizedName
    version: str
    marker: Marker | None


def pins(text: str) -> list[Pin]:
    """In the order of the file. A line that is neither a pin nor one of its hashes raises ValueError."""
    if rest := _ENTRY.sub("", text).strip():
        raise ValueError(f"not a pinned package with its hashes: {rest.splitlines()[0]}")
    return [_pin(entry) for entry in _ENTRY.finditer(text)]


def with_hashes(text: str, hash_of: Callable[[Pin], str]) -> str:
    """The same lock file with one hash per package: that of the file that the caller made for it."""
    return _ENTRY.sub(lambda entry: f"{entry['head']} \\\n    --hash=sha256:{hash_of(_pin(entry))}\n", text)


def _pin(entry: re.Match[str]) -> Pin:
    return Pin(canonicalize_name(entry["name"]), entry["version"], Marker(entry["marker"]) if entry["marker"] else None)
