"""Compare two clocks, one of which is known only by the Date header of an HTTP response."""

from datetime import datetime

from zenwatch.doctor.check import Check, Level, duration_text

SKEW_WARN_SECS, SKEW_FAIL_SECS = 5.0, 60.0
SET_CLOCK = "Set the clock of the one that is wrong: timedatectl set-ntp true (compare: date -u here and on the control plane)."


def skew_secs(shown: datetime, asked_at: datetime, answered_at: datetime) -> float:
    """How far our clock is ahead of the clock that showed `shown`.

    A Date header has whole seconds, so a range of differences fits. The smallest of them is returned: 0 if the clocks may agree.
    """
    if (ahead := (asked_at - shown).total_seconds() - 1.0) > 0:
        return ahead
    return min(0.0, (answered_at - shown).total_seconds())


def skew_check(area: str, whose: str, ahead_secs: float) -> Check:
    """whose: the clock that is compared with the API server's, such as "this machine's"."""
    off_secs = abs(ahead_secs)
    if off_secs <= SKEW_WARN_SECS:
        return Check(area, "clock", Level.OK, f"{whose} clock and the API server's agree within {SKEW_WARN_SECS:.0f} s")
    level = Level.FAIL if off_secs > SKEW_FAIL_SECS else Level.WARN
    side = "ahead of" if ahead_secs > 0 else "behind"
    text = f"{whose} clock is {duration_text(off_secs)} {side} the API server's: times in records are wrong, and tokens may be refused"
    return Check(area, "clock", level, text, (SET_CLOCK,))
