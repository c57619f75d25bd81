"""All checks of one source. A tool that posts and a tool whose reports are read are checked differently."""

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.object_count import ObjectCount
from zenwatch.doctor.cluster.served_kinds import find_served
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.sources.data import data_checks
from zenwatch.doctor.sources.reports import count_reports, permission_check, version_check
from zenwatch.doctor.sources.tool import Pods, find_pods, pull_tool_check, push_tool_check, tool_without_kinds_check
from zenwatch.doctor.sources.webhook import webhook_checks
from zenwatch.errors import ZenwatchError, first_line
from zenwatch.kube.scopes import scopes_of
from zenwatch.sdk.settings import WatcherSettings, watcher_prefix
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher, Watcher


async def source_checks(watcher: AnyWatcher, own: WatcherSettings, context: DoctorContext) -> list[Check]:
    if not own.enabled:
        return [Check(watcher.name, "tool", Level.OK, f"switched off ({watcher_prefix(watcher.name)}ENABLED=false)")]
    pods = await find_pods(watcher, own, context)
    if isinstance(watcher, PushWatcher):
        return [
            push_tool_check(watcher, own, pods),
            *webhook_checks(watcher, context.process, context.clock),
            *data_checks(watcher.name, context, ObjectCount()),
        ]
    return await _pull_checks(watcher, own, pods, context)


async def _pull_checks(watcher: Watcher, own: WatcherSettings, pods: Pods, context: DoctorContext) -> list[Check]:
    name = watcher.name
    kinds = list(dict.fromkeys(kind for kind, _ in scopes_of(watcher, context.settings)))
    try:
        served = await find_served(context.client, kinds)
    except ZenwatchError as exc:
        return [Check(name, "tool", Level.UNKNOWN, f"whether its kinds are served: {first_line(exc)}")]
    of_versions = [version_check(name, kind, versions) for kind, versions in served.elsewhere.items()]
    if not served.kinds:
        return [tool_without_kinds_check(watcher, own, pods, served), *of_versions]
    reports, refusal = await count_reports(watcher, served, context)
    return [
        pull_tool_check(watcher, own, pods, served, reports),
        *of_versions,
        await permission_check(watcher, served, context),
        *data_checks(name, context, reports, refusal, remedy=watcher.remedy),
    ]
