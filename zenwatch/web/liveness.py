"""Whether the event loop still runs (a beat every second, whose age is the answer of /healthz), and all tasks with it.

In: time; tasks that are gone for good.  Out: whether the process is alive, and zenwatch_event_loop_lag_max_seconds.
Owns: the time of the last beat and the delays of the last minute.
Stops: with the task that runs beat(); the next one starts with no delays.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from zenwatch.contract import Clock
from zenwatch.metrics import EVENT_LOOP_LAG

BEAT_SECS = 1.0
# The kubelet may restart the process then: what blocks the loop for so long does not release it.
LATE_SECS = 15.0
_BEATS_PER_MINUTE = 60


class Heartbeat:
    def __init__(self, clock: Clock, *, gone_tasks: Callable[[], Sequence[str]] = tuple) -> None:
        """gone_tasks: the names of tasks that ended and will not run again. Only a restart of the process brings them back."""
        self._clock = clock
        self._gone_tasks = gone_tasks
        self._never = asyncio.Event()
        self._beat_at = clock.monotonic_secs()

    async def beat(self) -> None:
        """Each turn shows that timers fire and tasks run; never returns."""
        delays_secs: deque[float] = deque(maxlen=_BEATS_PER_MINUTE)
        self._beat_at = self._clock.monotonic_secs()
        while True:
            await self._clock.wait(self._never, timeout_secs=BEAT_SECS)
            now = self._clock.monotonic_secs()
            delays_secs.append(max(0.0, now - self._beat_at - BEAT_SECS))
            EVENT_LOOP_LAG.set(max(delays_secs))
            self._beat_at = now

    async def check(self) -> tuple[bool, str]:
        """Whether the last beat is recent and no task is gone, and the lines for a person."""
        age_secs = self._clock.monotonic_secs() - self._beat_at
        is_alive = age_secs < LATE_SECS
        line = f"loop {'ok' if is_alive else 'late'}: last beat {age_secs:.1f} s ago\n"
        gone = self._gone_tasks()
        return is_alive and not gone, line + "".join(f"task {name} gone: it ended and will not run again\n" for name in gone)
