"""Settings of the Kubernetes client."""

from typing import Annotated

from zenwatch.config.env import Converted, Duration, EnvSettings, lower, setting


class KubeSettings(EnvSettings):
    """How fast zenwatch may ask the API server, and how long it waits."""

    api_rate: int = setting(
        "API_RATE", "2000", "a whole number from 1 to 100000", "The most requests to the API server per second.", ge=1, le=100_000
    )
    api_timeout_secs: Duration = setting(
        "API_TIMEOUT", "30s", "a duration such as 10s, from 1s to 10m", "The longest that one API request may take.", ge=1, le=600
    )
    retry_after_max_secs: Duration = setting(
        "RETRY_AFTER_MAX",
        "1m",
        "a duration such as 30s or 2m, from 1s to 10m",
        "The longest that zenwatch waits because the API server, or a proxy before it, asks for it (Retry-After).",
        ge=1,
        le=600,
    )
    allow_second: Annotated[bool, Converted(lower)] = setting(
        "ALLOW_SECOND",
        "false",
        "true or false",
        "false: one process at a time works on a cluster, and another one waits for it. true: this one works at once, beside any other; "
        "together they may lose sightings.",
    )
