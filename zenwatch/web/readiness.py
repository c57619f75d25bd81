"""Whether the process is alive, and can do its work.

In: the heartbeat, what the API server answers, how full the buffers are.  Out: a verdict and one line for each part of it.
Owns: the time of the last beat and the last look at the API server.
Stops: with the task that runs beat().
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping

from zenwatch.contract import Clock
from zenwatch.errors import ZenwatchError, first_line
from zenwatch.metrics import EVENT_LOOP_LAG
from zenwatch.model.queue import Fill

BEAT_SECS = 1.0
# So many beats missed and the kubelet may restart us: whatever held the loop that long will not let it go.
LATE_SECS = 15.0
# Probes come every few seconds, from several sides.
ASK_AGAIN_SECS = 5.0
ASK_TIMEOUT_SECS = 3.0
_BEATS_A_MINUTE = 60


class Readiness:
    def __init__(
        self, *, clock: Clock, served_kinds: Callable[[], Awaitable[Collection[str]]], kind: str, buffers: Mapping[str, Callable[[], Fill]]
    ) -> None:
        """served_kinds asks the API server, which kinds of our group it serves; kind: the one that records are of."""
        self._clock = clock
        self._served_kinds = served_kinds
        self._kind = kind
        self._buffers = buffers
        self._never = asyncio.Event()
        self._beat_at = clock.monotonic_secs()
        self._late: deque[float] = deque(maxlen=_BEATS_A_MINUTE)
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._api: tuple[bool, list[str]] = (False, [])

    async def beat(self) -> None:
        """Run for ever: each turn shows that timers fire and tasks are run."""
        while True:
            await self._clock.wait(self._never, timeout_secs=BEAT_SECS)
            now = self._clock.monotonic_secs()
            self._late.append(max(0.0, now - self._beat_at - BEAT_SECS))
            EVENT_LOOP_LAG.set(max(self._late))
            self._beat_at = now

    def alive(self) -> tuple[bool, str]:
        age_secs = self._clock.monotonic_secs() - self._beat_at
        is_alive = age_secs < LATE_SECS
        return is_alive, f"loop {'ok' if is_alive else 'late'}: last beat {age_secs:.1f} s ago\n"

    async def ready(self) -> tuple[bool, str]:
        """One line for each: apiserver, crds, and every buffer."""
        async with self._asking:
            if self._clock.monotonic_secs() - self._asked_at >= ASK_AGAIN_SECS:
                self._api = await self._ask()
                self._asked_at = self._clock.monotonic_secs()
        is_ready, lines = self._api
        for source, look in self._buffers.items():
            fill = look()
            is_ready = is_ready and not fill.is_full
            lines = [*lines, f"buffer/{source} {'full' if fill.is_full else 'ok'}: {fill.used} of {fill.capacity} {fill.unit}"]
        return is_ready, "".join(f"{line}\n" for line in lines)

    async def _ask(self) -> tuple[bool, list[str]]:
        try:
            async with asyncio.timeout(ASK_TIMEOUT_SECS):
                served = await self._served_kinds()
        except TimeoutError:
            return False, [f"apiserver fails: no answer within {ASK_TIMEOUT_SECS:g} s", "crds unknown"]
        except ZenwatchError as exc:
            return False, [f"apiserver fails: {first_line(exc)}", "crds unknown"]
        if self._kind not in served:
            return False, ["apiserver ok", f"crds fail: {self._kind} is not served; apply them with `zenwatch crds | kubectl apply -f -`"]
        return True, ["apiserver ok", "crds ok"]
