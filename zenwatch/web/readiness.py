"""Whether the process does its work: no other one does it, the store can take records, and no buffer is full."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from zenwatch.contract import Clock
from zenwatch.model.queue import Fill
from zenwatch.model.status import RefusedWrites

# Probes come every few seconds, from several sides: they share one check of the store.
KEEP_ANSWER_SECS = 5.0


class Readiness:
    """check_store: whether the store can take records, and a line for each part of it. buffers: by source. waits_for: empty: it works.

    refused: namespaces that take no writes. The process is ready all the same: others do, and no other process would be better off.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        check_store: Callable[[], Awaitable[tuple[bool, list[str]]]],
        buffers: Mapping[str, Callable[[], Fill]],
        refused: Callable[[], Sequence[RefusedWrites]] = tuple,
        waits_for: Callable[[], str] = str,
    ) -> None:
        self._refused = refused
        self._clock = clock
        self._check_store = check_store
        self._buffers = buffers
        self._waits_for = waits_for
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._store: tuple[bool, list[str]] = (False, [])

    async def check(self) -> tuple[bool, str]:
        """Whether all is well, and one line for each part of the store and every buffer."""
        async with self._asking:
            if self._clock.monotonic_secs() - self._asked_at >= KEEP_ANSWER_SECS:
                self._store = await self._check_store()
                self._asked_at = self._clock.monotonic_secs()
        is_ready, lines = self._store
        if other := self._waits_for():
            is_ready, lines = False, [f"lease waits: {other}", *lines]
        for source, fill_of_source in self._buffers.items():
            fill = fill_of_source()
            is_ready = is_ready and not fill.is_full
            lines = [*lines, f"buffer/{source} {'full' if fill.is_full else 'ok'}: {fill.used} of {fill.capacity} {fill.unit}"]
        lines = [*lines, *(f"writes/{each.namespace} refused ({each.cause}): {each.waiting} wait" for each in self._refused())]
        return is_ready, "".join(f"{line}\n" for line in lines)
