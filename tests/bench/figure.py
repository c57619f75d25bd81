"""What a measurement returns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """baseline: the same unit, measured in the same run. More is better unless the unit says otherwise."""

    value: float
    unit: str
    baseline: float

    def as_json(self) -> dict[str, Any]:
        return {
            "value": round(self.value, 1),
            "unit": self.unit,
            "baseline": round(self.baseline, 1),
            "ratio": round(self.value / self.baseline, 3),
        }


@dataclass(frozen=True)
class NotMeasured:
    """What this machine does not allow to measure, and why."""

    unit: str
    reason: str

    def as_json(self) -> dict[str, Any]:
        return {"value": None, "unit": self.unit, "not_measured": self.reason}


Measure = Callable[[], Figure | NotMeasured]
