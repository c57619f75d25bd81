"""Check whether zenwatch can read a tool's reports: in which version they are served, and with which permissions."""

from collections.abc import Sequence

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.object_count import ObjectCount, count_objects
from zenwatch.doctor.cluster.permissions import Permission
from zenwatch.doctor.cluster.rbac import advice, phrase, unknown_access_check
from zenwatch.doctor.cluster.served_kinds import ServedKinds
from zenwatch.doctor.context import DoctorContext
from zenwatch.errors import ZenwatchError
from zenwatch.kube.scopes import scopes_of
from zenwatch.sdk.settings import watcher_prefix
from zenwatch.sdk.watcher import ApiResource, Watcher
from zenwatch.wiring.settings import Settings

# deployments/base/rbac.yaml grants the same; a test compares them.
READ_VERBS = ("list", "watch")


def read_needs(watcher: Watcher, settings: Settings) -> list[Permission]:
    return [Permission(verb, kind, namespace) for kind, namespace in scopes_of(watcher, settings) for verb in READ_VERBS]


def version_check(name: str, kind: ApiResource, versions: Sequence[str]) -> Check:
    """The kind is served, but not in the version that zenwatch reads."""
    text = f"{kind.full_name} is served as {', '.join(versions)}, but read as {kind.version}: its reports are not read"
    lines = (
        f"Install a zenwatch that reads {versions[0]}; or let the API server serve {kind.version} as well:",
        f"kubectl edit crd {kind.full_name} (spec.versions), where the tool's own definition has it.",
    )
    return Check(name, "version", Level.FAIL, text, lines)


async def permission_check(watcher: Watcher, served: ServedKinds, context: DoctorContext) -> Check:
    """Only for kinds that are served: the others need no permission."""
    name, account = watcher.name, context.account_name
    needs = [need for need in read_needs(watcher, context.settings) if need.resource in served.kinds]
    try:
        missing = await context.account.missing(needs)
    except ZenwatchError as exc:
        return unknown_access_check(name, "access", exc)
    if not missing:
        return Check(name, "access", Level.OK, f"{', '.join(dict.fromkeys(need.verb for need in needs))}: granted")
    # Many programs write ConfigMaps: without the permission, doctor cannot know whether the tool has written any.
    level = Level.FAIL if any(not need.resource.label_selector for need in missing) else Level.WARN
    lines = (*advice(missing, account), f"Or, where the tool is not used: {watcher_prefix(name)}ENABLED=false")
    return Check(name, "access", level, f"{account} may not {phrase(missing)}: its findings are not read", lines)


async def count_reports(watcher: Watcher, served: ServedKinds, context: DoctorContext) -> tuple[ObjectCount, ZenwatchError | None]:
    """The reports of all kinds and namespaces, and the last error if some could not be counted.

    Nothing is counted if the process knows when it last had data; except labelled objects, which are evidence of the tool.
    """
    total, refusal = ObjectCount(), None
    status = context.process.source(watcher.name)
    if status and status.last_data_at and not any(kind.label_selector for kind in served.kinds):
        return total, None
    for kind, namespace in scopes_of(watcher, context.settings):
        if kind in served.kinds:
            try:
                total.add_count(await count_objects(context.client, kind, namespace))
            except ZenwatchError as exc:
                refusal = exc
    return total, refusal
