"""What a watcher yields for a report that has to be understood whole."""

from collections.abc import Iterable
from typing import TypeVar

from zenwatch.errors import BadInput

Entry = TypeVar("Entry")


def whole(entries: Iterable[Entry | BadInput]) -> list[Entry]:
    """The entries. Raises the first BadInput that was yielded in place of one."""
    found: list[Entry] = []
    for entry in entries:
        if isinstance(entry, BadInput):
            raise entry
        found.append(entry)
    return found
