"""How long a server asks to be left alone: Retry-After as RFC 9110 has it, and a Status's retryAfterSeconds."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any


def retry_after_secs(header: str | None, of_status: Any, *, most_secs: float, now: datetime) -> float | None:
    """The header before the Status. None: neither asks for anything that can be understood.

    most_secs: no more than that is believed. A proxy in a bad moment may ask for a day, and the server be back in ten seconds.
    """
    for asked in (header, of_status):
        secs = _seconds(asked, now)
        # False for what is no number, too.
        if secs is not None and secs >= 0:
            return float(min(secs, most_secs))
    return None


def _seconds(asked: Any, now: datetime) -> float | None:
    """asked: a number, or text: a number or an HTTP-date, where a moment that has passed is 0."""
    if isinstance(asked, bool) or not isinstance(asked, int | float | str):
        return None
    if not isinstance(asked, str):
        return asked
    try:
        return float(asked)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(asked)
        return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (ValueError, OverflowError):
        return None
