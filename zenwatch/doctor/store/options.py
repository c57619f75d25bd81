"""Check the permissions that two settings need in addition: GROUP_BY_OWNER and EMIT_EVENTS."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.permissions import Permission
from zenwatch.doctor.cluster.rbac import advice, phrase, unknown_access_check
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.store.crd import AREA
from zenwatch.errors import ZenwatchError
from zenwatch.sdk.watcher import ApiResource
from zenwatch.wiring.settings import Settings


def _kinds(group: str, *plurals: str) -> list[ApiResource]:
    version = "v1"
    return [ApiResource(group, version, plural, "") for plural in plurals]


# deployments/base and deployments/events grant the same; a test compares them.
OWNERS = [*_kinds("", "pods"), *_kinds("apps", "replicasets"), *_kinds("batch", "jobs")]
EVENT_TARGETS = [
    *_kinds("", "pods", "services", "serviceaccounts"),
    *_kinds("apps", "deployments", "statefulsets", "daemonsets", "replicasets"),
    *_kinds("batch", "jobs", "cronjobs"),
    *_kinds("rbac.authorization.k8s.io", "roles", "rolebindings"),
]
# Kinds of the whole cluster. A zenwatch that is confined to namespaces cannot read them.
CLUSTER_EVENT_TARGETS = [*_kinds("", "nodes", "namespaces"), *_kinds("rbac.authorization.k8s.io", "clusterroles", "clusterrolebindings")]
_EVENTS = _kinds("", "events")[0]


def owner_needs(settings: Settings) -> list[Permission]:
    namespaces = settings.watch_namespaces or ("",)
    return [Permission(verb, kind, namespace) for namespace in namespaces for kind in OWNERS for verb in ("get", "list")]


def event_needs(settings: Settings) -> list[Permission]:
    namespaces = settings.watch_namespaces or ("",)
    kinds = EVENT_TARGETS if settings.watch_namespaces else [*EVENT_TARGETS, *CLUSTER_EVENT_TARGETS]
    return [
        need
        for namespace in namespaces
        for need in (Permission("create", _EVENTS, namespace), *(Permission("get", kind, namespace) for kind in kinds))
    ]


@dataclass(frozen=True)
class _Option:
    """purpose: what the permissions are for. effect: what happens if one is missing. alternative: what to do instead of granting it."""

    title: str
    needs: Sequence[Permission]
    purpose: str
    effect: str
    alternative: str


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


async def option_checks(context: DoctorContext) -> list[Check]:
    """One check for each of the two settings that is on."""
    return [await _check(context, option) for option in _options(context.settings)]


async def _check(context: DoctorContext, option: _Option) -> Check:
    account = context.account_name
    try:
        missing = await context.account.missing(option.needs)
    except ZenwatchError as exc:
        return unknown_access_check(AREA, option.title, exc)
    if not missing:
        return Check(AREA, option.title, Level.OK, f"{account} may {option.purpose}")
    lines = (*advice(missing, account), option.alternative)
    return Check(AREA, option.title, Level.WARN, f"{account} may not {phrase(missing)}: {option.effect}", lines)
