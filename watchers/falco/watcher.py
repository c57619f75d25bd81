"""Falco: what programs do at run time that they should not (https://falco.org/docs/outputs/channels/#http-output).

Falco posts alerts, as JSON or as text. The files of this package, in the order of the flow:

    body.py      from a body to alerts as they were posted
    alert.py     the alert, with the priority and the time that stand at the beginning of its output
    finding.py   from an alert to a finding, without credentials
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from watchers.falco.alert import PRIORITIES, Alert, alert_of, priority_word
from watchers.falco.body import claims, decode
from watchers.falco.finding import finding_of
from zenwatch.sdk import Converted, PushSettings, PushWatcher, SelfIdentity, Verdict, setting
from zenwatch.sdk.fields import text_of

# From the worst to the least.
_RANKS = {priority: rank for rank, priority in enumerate(PRIORITIES)}
_TELEMETRY = "falco internal:"
_CONTACTS_API = "contact k8s api server from container"


def _priority_of(value: object) -> object:
    return priority_word(value.strip()) if isinstance(value, str) else value


class FalcoSettings(PushSettings):
    """The settings of every push watcher, and a limit by Falco's own priorities."""

    min_priority: Annotated[
        Literal["emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"], Converted(_priority_of)
    ] = setting(
        "MIN_PRIORITY",
        "debug",
        "one of emergency, alert, critical, error, warning, notice, informational, debug",
        "Alerts of a lower Falco priority are left out; one whose priority is unknown is not.",
    )


def prepare(settings: Any, self_identity: SelfIdentity) -> Callable[[Any], Verdict]:
    """settings: FalcoSettings."""
    least = _RANKS[settings.min_priority]
    why_below = f"Its priority is below FALCO_MIN_PRIORITY, {settings.min_priority}."

    def judge(event: Any) -> Verdict:
        alert = alert_of(event)
        if _is_telemetry(alert):
            return Verdict("telemetry", "Falco tells of itself: no program did anything.")
        if _RANKS.get(alert.word, least) > least:
            return Verdict("below-priority", why_below)
        if _is_own_contact(alert, self_identity):
            return Verdict("own-contact", "The pod of zenwatch talks to the API server, as it has to.")
        return Verdict("alert", "A rule of Falco's fired.", finding_of(alert))

    return judge


def _is_telemetry(alert: Alert) -> bool:
    names = (alert.rule.lower(), alert.text.lower())
    return text_of(alert.event, "source").lower() == "internal" or any(name.startswith(_TELEMETRY) for name in names)


def _is_own_contact(alert: Alert, own: SelfIdentity) -> bool:
    """Whether zenwatch's own pod contacted the API server. Other alerts about this pod count: somebody may have broken into it."""
    if alert.rule.lower() != _CONTACTS_API or not (own.own_namespace and own.own_pod):
        return False
    return (alert.field("k8s.ns.name"), alert.field("k8s.pod.name")) == (own.own_namespace, own.own_pod)


FALCO = PushWatcher(
    name="falco",
    path="/falco/webhook",
    media_types=("application/json", "text/plain"),
    decode=decode,
    prepare=prepare,
    settings=FalcoSettings,
    counts_repeats=True,
    recent="samples",
    token_in_path=True,
    namespace="falco",
    pod_labels="app.kubernetes.io/name=falco",
    claims=claims,
)
