"""Settings of the store."""

from zenwatch.config.env import Bytes, Duration, EnvSettings, WindowOrAll, setting


class StoreSettings(EnvSettings):
    """How much is stored, how fast, and for how long."""

    write_concurrency: int = setting(
        "WRITE_CONCURRENCY", "16", "a whole number from 1 to 256", "Writes to the API server at the same time.", ge=1, le=256
    )
    dead_letter_after_secs: Duration = setting(
        "DEAD_LETTER_AFTER",
        "10m",
        "a duration such as 10m, from 1s to 24h",
        "How long a pushed event waits for a namespace that takes no records (a policy, a quota, a webhook) until it becomes a dead "
        "letter. It comes back by itself when records are taken again.",
        ge=1,
        le=86_400,
    )
    event_ttl_secs: WindowOrAll = setting(
        "EVENT_TTL",
        "168h",
        "a duration such as 168h; 0s for ever",
        "How long after their last sighting resolved records, and those of Falco and audit, are kept. A record may say its own: "
        "annotation zen.kube-zen.io/ttl.",
    )
    gc_rate: int = setting("GC_RATE", "20", "a whole number from 1 to 1000", "The most records that are deleted per second.", ge=1, le=1000)
    record_budget: int = setting(
        "RECORD_BUDGET",
        "20000",
        "a whole number from 10 to 10000000",
        "How many records may be stored. Beyond, the findings with the lowest scores are rolled up into one record per resource and tool; "
        "CRITICAL ones are stored all the same.",
        ge=10,
        le=10_000_000,
    )
    record_budget_bytes: Bytes = setting(
        "RECORD_BUDGET_BYTES",
        "200Mi",
        "a size such as 200Mi or 2Gi, from 1Mi to 1024Gi",
        "How many bytes of records may be stored, as JSON; beyond as RECORD_BUDGET.",
        ge=1024**2,
        le=1024**4,
    )
