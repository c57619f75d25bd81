"""What the index remembers of a stored record; a test names only what it is about."""

from dataclasses import replace
from typing import Any

from tests.support.builders.findings import an_event
from zenwatch.model.record import Stored


def a_stored(**changes: Any) -> Stored:
    """An open HIGH record of Trivy that was written once."""
    stored = Stored(an_event().name, "default", "trivy", "a", "HIGH", "Open", 1, 0, first_seen=0, last_seen=0, version=1)
    return replace(stored, **changes)
