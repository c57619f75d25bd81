"""Settings of the processing of findings."""

from typing import Annotated

from zenwatch.config.env import Converted, Duration, EnvSettings, WindowOrAll, lower, setting


class ProcessingSettings(EnvSettings):
    """What counts as the same finding, as gone, and as back again."""

    coalesce_window_secs: Duration = setting(
        "COALESCE_WINDOW",
        "5s",
        "a duration such as 5s, from 0s to 10m",
        "After a write of a pushed record, how long its next sightings are collected before the next one.",
        ge=0,
        le=600,
    )
    dedup_window_secs: WindowOrAll = setting(
        "DEDUP_WINDOW",
        "",
        "a duration such as 24h; empty for all stored records",
        "A pushed event that repeats after that time without a sighting counts as reopened. Empty: it is one more sighting, however late.",
    )
    resolve_grace_secs: Duration = setting(
        "RESOLVE_GRACE",
        "10m",
        "a duration such as 10m, from 0s to 24h",
        "How long a report may be gone before its findings are resolved: the Trivy Operator deletes each once a day and writes it again.",
        ge=0,
        le=86_400,
    )
    group_by_owner: Annotated[bool, Converted(lower)] = setting(
        "GROUP_BY_OWNER",
        "true",
        "true or false",
        "true: findings of a Pod or ReplicaSet are those of the Deployment, StatefulSet, DaemonSet, CronJob or Job that owns it, and "
        "Kyverno's autogen rules are the rule itself. false: as the tool reports them.",
    )
