"""How long to wait before the next try."""

import random

from zenwatch.errors import Transient


def backoff_secs(attempt: int, error: BaseException | None = None, *, first_secs: float = 0.5, cap_secs: float = 30.0) -> float:
    """The wait before try number attempt + 1 (attempt >= 1): doubling, capped, jittered by half; or longer where the other side said so."""
    delay = min(cap_secs, first_secs * 2.0 ** min(attempt - 1, 16))
    jittered = delay * random.uniform(0.5, 1.0)  # noqa: S311  spreads retries, guards nothing
    asked = error.retry_after_secs if isinstance(error, Transient) else None
    return max(jittered, asked or 0.0)
