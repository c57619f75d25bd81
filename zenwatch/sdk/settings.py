"""The settings that every watcher has; a push watcher may add its own in a subclass of PushSettings."""

from typing import Annotated

from zenwatch.config.env import NAMESPACE_OR_NONE, Bytes, Converted, Duration, EnvSettings, lower, setting, upper
from zenwatch.model.finding import Severity


class WatcherSettings(EnvSettings):
    """What every watcher has of its own; the variables begin with its name."""

    enabled: Annotated[bool, Converted(lower)] = setting("ENABLED", "true", "true or false", "Whether this tool's reports are read at all.")
    min_severity: Annotated[Severity, Converted(upper)] = setting(
        "MIN_SEVERITY",
        "INFO",
        "one of CRITICAL, HIGH, MEDIUM, LOW, INFO",
        "Findings of this tool below this severity are counted as filtered and not stored.",
    )
    namespace: str = setting(
        "NAMESPACE",
        "",
        "the name of a namespace",
        "Where the tool runs; only to tell whether it is there. Its reports are found wherever they are.",
        pattern=NAMESPACE_OR_NONE,
    )
    silence_after_secs: Duration = setting(
        "SILENCE_AFTER",
        "26h",
        "a duration such as 26h, from 1s to 8760h",
        "An installed tool that sent nothing for so long, and for far longer than its usual pause, is reported as silent.",
        ge=1,
        le=31_536_000,
    )


class PushSettings(WatcherSettings):
    """What every watcher whose tool posts to us has of its own besides."""

    buffer_events: int = setting(
        "BUFFER_SIZE",
        "100",
        "a whole number from 1 to 1000000",
        "Events that passed the filter and wait to be stored. When it is full, a sender that retries is asked to; another's are lost.",
        ge=1,
        le=1_000_000,
    )
    max_body_bytes: Bytes = setting(
        "MAX_BODY",
        "1Mi",
        "a size such as 512Ki or 16Mi, from 1Ki to 256Mi",
        "The largest body that is taken, after unpacking.",
        ge=1024,
        le=256 * 1024 * 1024,
    )
    resolve_after_secs: Duration = setting(
        "RESOLVE_AFTER",
        "24h",
        "a duration such as 24h, from 1s to 8760h",
        "After so long without another sighting a record of this tool is resolved, with the reason NotSeenAgain.",
        ge=1,
        le=31_536_000,
    )


def watcher_prefix(name: str) -> str:
    """The prefix of a watcher's variables: KUBE_BENCH_ for kube-bench."""
    return f"{name.upper().replace('-', '_')}_"
