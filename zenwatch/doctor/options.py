"""What settings need that do more than store findings: GROUP_BY_OWNER and EMIT_EVENTS.

In: the settings, the API server's authorizer.  Out: a check of the area store for each that is on.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.permissions import Account, Permission, advice, told
from zenwatch.doctor.storage import AREA, not_asked
from zenwatch.errors import ZenwatchError
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.watcher import ApiResource


def _kinds(group: str, *plurals: str) -> list[ApiResource]:
    version = "v1"
    return [ApiResource(group, version, plural, "") for plural in plurals]


# As in deployments/base and deployments/events; tests/unit/doctor holds both together.
OWNERS = [*_kinds("", "pods"), *_kinds("apps", "replicasets"), *_kinds("batch", "jobs")]
ANNOUNCED = [
    *_kinds("", "pods", "services", "serviceaccounts"),
    *_kinds("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
    *_kinds("batch", "jobs", "cronjobs"),
    *_kinds("rbac.authorization.k8s.io", "roles", "rolebindings"),
]
# Of the whole cluster: not to be had where zenwatch is confined to namespaces.
ANNOUNCED_OF_CLUSTER = [*_kinds("", "nodes", "namespaces"), *_kinds("rbac.authorization.k8s.io", "clusterroles", "clusterrolebindings")]
_EVENTS = _kinds("", "events")[0]


def owner_needs(settings: Settings) -> list[Permission]:
    places = settings.watch_namespaces or ("",)
    return [Permission(verb, kind, place) for place in places for kind in OWNERS for verb in ("get", "list")]


def event_needs(settings: Settings) -> list[Permission]:
    places = settings.watch_namespaces or ("",)
    kinds = ANNOUNCED if settings.watch_namespaces else [*ANNOUNCED, *ANNOUNCED_OF_CLUSTER]
    return [
        need for place in places for need in (Permission("create", _EVENTS, place), *(Permission("get", kind, place) for kind in kinds))
    ]


@dataclass(frozen=True)
class _Option:
    """purpose: what the needs are for. without: what happens where one is missing. instead: the other way out."""

    title: str
    needs: Sequence[Permission]
    purpose: str
    without: str
    instead: str


def _options(settings: Settings) -> Iterator[_Option]:
    if settings.group_by_owner:
        yield _Option(
            "owners",
            owner_needs(settings),
            "see who owns a Pod, ReplicaSet or Job",
            "findings stay with the ReplicaSets and Jobs that the tools name",
            "Or GROUP_BY_OWNER=false, if that is what you want.",
        )
    if settings.emit_events:
        yield _Option(
            "events",
            event_needs(settings),
            "make Events of critical findings",
            "not every critical finding becomes an Event",
            "Or all at once: kubectl apply -k deployments/events; or EMIT_EVENTS=false.",
        )


async def look(account: Account, name: str, settings: Settings) -> list[Check]:
    """name: of the account."""
    return [await _check(account, name, option) for option in _options(settings)]


async def _check(account: Account, name: str, option: _Option) -> Check:
    try:
        missing = await account.missing(option.needs)
    except ZenwatchError as exc:
        return not_asked(AREA, option.title, exc)
    if not missing:
        return Check(AREA, option.title, Level.OK, f"{name} may {option.purpose}")
    lines = (*advice(missing, name), option.instead)
    return Check(AREA, option.title, Level.WARN, f"{name} may not {told(missing)}: {option.without}", lines)
