"""Where record changes are delivered to: Kubernetes Events, a bucket, a log service."""

from collections.abc import Sequence
from typing import Protocol

from zenwatch.contract.changes import RecordChange


class Destination(Protocol):
    async def deliver(self, changes: Sequence[RecordChange]) -> None:
        """Return once all of them are as safe as the destination makes them.

        Transient: deliver the same changes again later. Permanent: never again; they become dead letters.
        """
        ...
