"""One number from 0 to 100 over all sources: sorting by it puts first what to look at first (docs/severity.md).

| severity | band   | without a tool score or fix | tool score 10.0 and a fix |
|----------|--------|-----------------------------|---------------------------|
| CRITICAL | 90-100 | 94                          | 100                       |
| HIGH     | 70-89  | 77                          | 89                        |
| MEDIUM   | 40-69  | 51                          | 69                        |
| LOW      | 10-39  | 21                          | 39                        |
| INFO     | 0-9    | 3                           | 9                         |
"""

from zenwatch.model.finding import Severity

# No two bands touch: a HIGH is never above a CRITICAL, whatever its CVSS number says.
BANDS = {
    Severity.CRITICAL: (90, 100),
    Severity.HIGH: (70, 89),
    Severity.MEDIUM: (40, 69),
    Severity.LOW: (10, 39),
    Severity.INFO: (0, 9),
}
# Four fifths of a band follow the tool's score, one fifth is for findings that can be fixed today. A guess, to be set by use.
FIX_SHARE = 0.2
# Without a score of the tool, the middle: neither better nor worse than its peers.
UNSCORED = 5.0


def score(severity: Severity, *, tool_score: float | None, has_fix: bool) -> int:
    """tool_score: 0.0 to 10.0; values outside count as the nearer end."""
    low, high = BANDS[severity]
    tool_part = min(max(UNSCORED if tool_score is None else tool_score, 0.0), 10.0) / 10.0
    share = (1.0 - FIX_SHARE) * tool_part + (FIX_SHARE if has_fix else 0.0)
    return int(low + share * (high - low))
