"""Settings that belong to no single component."""

from typing import Annotated, Literal

from zenwatch.config.env import LABEL_VALUE, NAMESPACE, Converted, Duration, EnvSettings, Namespaces, lower, setting


class CoreSettings(EnvSettings):
    """What every part of zenwatch needs to know."""

    cluster_id: str = setting(
        "CLUSTER_ID",
        "local",
        "a label value: at most 63 letters, digits, '-', '_' or '.'",
        "Which cluster the findings come from. Part of every record and every key: changing it makes every finding new.",
        pattern=LABEL_VALUE,
    )
    own_namespace: str = setting(
        "POD_NAMESPACE",
        "zenwatch",
        "the name of a namespace",
        "zenwatch's own namespace, for records whose resource has none. In a pod the default is the pod's.",
        pattern=NAMESPACE,
    )
    watch_namespaces: Namespaces = setting(
        "WATCH_NAMESPACE",
        "",
        "names of namespaces, separated by commas; empty for all",
        "Read only there. Roles in these namespaces and in zenwatch's own are then enough; kinds of the whole cluster are not read.",
    )
    watch_interval_secs: Duration = setting(
        "WATCH_INTERVAL", "30s", "a duration such as 45s or 2m, from 100ms to 24h", "Time between two rounds.", ge=0.1, le=86_400
    )
    behavior_mode: Annotated[Literal["normal", "conservative", "aggressive"], Converted(lower)] = setting(
        "BEHAVIOR_MODE",
        "normal",
        "one of normal, conservative, aggressive",
        "conservative: interval x 4, write concurrency and API rate a quarter. aggressive: interval / 3.",
    )
    round_timeout_secs: Duration = setting(
        "ROUND_TIMEOUT",
        "5m",
        "a duration such as 5m, from 1s to 24h",
        "The longest that a round of one watcher may take; what is not done by then is taken up by its next round.",
        ge=1,
        le=86_400,
    )
    shutdown_timeout_secs: Duration = setting(
        "SHUTDOWN_TIMEOUT",
        "20s",
        "a duration such as 20s, from 0s to 10m; in a pod less than terminationGracePeriodSeconds",
        "How long writes in flight may take after SIGTERM or SIGINT.",
        ge=0,
        le=600,
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Converted(lower)] = setting(
        "LOG_LEVEL", "info", "one of debug, info, warning, error", "The least important log lines that are written."
    )
    log_format: Annotated[Literal["auto", "json", "text"], Converted(lower)] = setting(
        "LOG_FORMAT", "auto", "one of auto, json, text", "auto: readable text on a terminal, JSON lines elsewhere."
    )
