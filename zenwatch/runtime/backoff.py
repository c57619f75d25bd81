"""How long to wait before the next try."""

import random

from zenwatch.errors import Transient


def backoff_secs(attempt: int, error: BaseException | None = None, *, first_secs: float = 0.5, cap_secs: float = 30.0) -> float:
    """The wait after failed attempt number `attempt` (1 or more): doubled each time, capped, jittered by half; at least Retry-After."""
    delay = min(cap_secs, first_secs * 2.0 ** min(attempt - 1, 16))
    jittered = delay * random.uniform(0.5, 1.0)  # noqa: S311  spreads retries, guards nothing
    asked = error.retry_after_secs if isinstance(error, Transient) else None
    return max(jittered, asked or 0.0)
