"""Times as text (RFC 3339) and back. Text comes from outside: reading never raises."""

from datetime import UTC, datetime
from functools import lru_cache

# The longest RFC 3339 text with nanoseconds and an offset has 35 characters.
_MAX_CHARS = 64


def format_rfc3339(moment: datetime) -> str:
    """In UTC, to the second, with a Z. strftime would write a year before 1000 with fewer than four digits."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def parse_rfc3339(text: object, *, assume_utc: bool = False) -> datetime | None:
    """The time in UTC; None if text is no time that exists in UTC.

    assume_utc: read a time without a zone as UTC. Without it such a time is None, because it could be any hour.
    """
    if not isinstance(text, str) or len(text) > _MAX_CHARS:
        return None
    try:
        # RFC 3339 allows t and z; Python reads only Z.
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC) if assume_utc else None
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def unix_secs(text: str | None) -> int:
    """Whole seconds since 1970; 0 if text is no time."""
    moment = parse_rfc3339(text)
    return int(moment.timestamp()) if moment else 0
