"""Settings of delivery."""

from typing import Annotated

from zenwatch.config.env import Converted, EnvSettings, lower, setting


class DeliverSettings(EnvSettings):
    """Where record changes are delivered to."""

    emit_events: Annotated[bool, Converted(lower)] = setting(
        "EMIT_EVENTS",
        "false",
        "true or false",
        "true: a new CRITICAL finding is also a Kubernetes Event of its resource (kubectl describe). Needs deployments/events.",
    )
