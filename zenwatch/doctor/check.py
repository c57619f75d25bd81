"""One line of a diagnosis, and the exit code of all lines together."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_MINUTE_SECS, _HOUR_SECS, _DAY_SECS = 60, 3600, 86_400


class Level(StrEnum):
    """WARN: a person should look at it. FAIL: findings are being lost, or nothing can be stored. UNKNOWN: doctor could not find out."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Check:
    """area: cluster, store, process or the name of a source. advice: what to type or change, line by line; YAML keeps its indentation.

    A WARN or FAIL without advice is a bug.
    """

    area: str
    title: str
    level: Level
    text: str
    advice: tuple[str, ...] = ()


def exit_code(checks: Iterable[Check]) -> int:
    """0: all well. 1: something needs attention. 2: something is broken. UNKNOWN changes nothing."""
    levels = {check.level for check in checks}
    return 2 if Level.FAIL in levels else 1 if Level.WARN in levels else 0


def duration_text(secs: float) -> str:
    """A duration in its largest whole unit: 3 hours."""
    for unit_secs, unit in ((_DAY_SECS, "day"), (_HOUR_SECS, "hour"), (_MINUTE_SECS, "minute")):
        if secs >= unit_secs:
            count = int(secs // unit_secs)
            return f"{count} {unit}" + ("s" if count > 1 else "")
    return f"{max(0, int(secs))} s"


def age_text(moment: datetime, now: datetime) -> str:
    """How long ago it was: 3 hours ago."""
    return f"{duration_text((now - moment).total_seconds())} ago"
