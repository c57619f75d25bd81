"""Check how full the record budget is."""

from zenwatch.doctor.check import Check, Level
from zenwatch.model.status import BudgetStatus
from zenwatch.store.budget import WARN_SHARE

_ADVICE = (
    "See which source fills it: kubectl get zae -A --no-headers | awk '{print $4}' | sort | uniq -c",
    "Then raise RECORD_BUDGET or RECORD_BUDGET_BYTES, raise that source's <NAME>_MIN_SEVERITY, or lower EVENT_TTL (zenwatch settings).",
)


def budget_check(area: str, budget: BudgetStatus) -> Check:
    """WARN from the share on at which zenwatch itself warns."""
    limits = [("records", budget.records, budget.records_limit), ("MiB", budget.bytes, budget.bytes_limit)]
    limited = [limit for limit in limits if limit[2]]
    text = ", ".join(_used_text(*limit) for limit in limited) or "no limit"
    if budget.rolled_up:
        text = f"{text}; {budget.rolled_up} findings did not fit and are only counted"
        return Check(area, "budget", Level.FAIL, text, _ADVICE)
    fullest = max((used / limit for _, used, limit in limited), default=0.0)
    if fullest < WARN_SHARE:
        return Check(area, "budget", Level.OK, text)
    return Check(area, "budget", Level.FAIL if fullest >= 1 else Level.WARN, f"{text}: full, or soon", _ADVICE)


def _used_text(unit: str, used: int, limit: int) -> str:
    return f"{used >> 20} of {limit >> 20} MiB" if unit == "MiB" else f"{used} of {limit} {unit}"
