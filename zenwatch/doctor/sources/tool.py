"""Check whether a tool is installed: its kinds are served, its pods run, or it has written labelled objects."""

from collections.abc import Sequence
from dataclasses import replace

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.object_count import ObjectCount, count_objects
from zenwatch.doctor.cluster.permissions import Permission
from zenwatch.doctor.cluster.rbac import advice
from zenwatch.doctor.cluster.served_kinds import ServedKinds
from zenwatch.doctor.context import DoctorContext
from zenwatch.errors import Forbidden, ZenwatchError, first_line
from zenwatch.kube.kinds import PODS
from zenwatch.sdk.settings import WatcherSettings
from zenwatch.sdk.watcher import AnyWatcher, ApiResource, PushWatcher, Watcher

# How many pods run, or why they could not be counted. None: they are not looked for.
Pods = ObjectCount | ZenwatchError | None


async def find_pods(watcher: AnyWatcher, own: WatcherSettings, context: DoctorContext) -> Pods:
    """None if the tool has no pods, or if zenwatch is confined to other namespaces."""
    namespaces = context.settings.watch_namespaces
    if not own.namespace or (namespaces and own.namespace not in namespaces):
        return None
    try:
        return await count_objects(context.client, replace(PODS, label_selector=watcher.pod_labels), own.namespace)
    except ZenwatchError as exc:
        return exc


def push_tool_check(watcher: PushWatcher, own: WatcherSettings, pods: Pods) -> Check:
    if pods is None:
        return Check(watcher.name, "tool", Level.OK, "not looked for: its posts show that it is there")
    if isinstance(pods, ZenwatchError):
        return _unknown_pods(watcher.name, own, pods)
    text = f"detected: {pods} pods in {own.namespace}" if pods.objects else f"not there: no pods in {own.namespace}"
    return Check(watcher.name, "tool", Level.OK, text)


def pull_tool_check(watcher: Watcher, own: WatcherSettings, pods: Pods, served: ServedKinds, reports: ObjectCount) -> Check:
    """Every API server serves ConfigMaps, so that only labelled ones are evidence of a tool."""
    shared = [kind for kind in served.kinds if kind.label_selector]
    kinds = f"{len(served.kinds)} of {served.asked_for} kinds served as {_versions(served.kinds)}"
    evidence = [] if shared else [kinds]
    if shared and reports.objects:
        evidence.append(f"{reports} {shared[0].full_name} labelled {shared[0].label_selector}")
    if isinstance(pods, ObjectCount) and pods.objects:
        evidence.append(f"{pods} pods in {own.namespace}")
    if evidence:
        return Check(watcher.name, "tool", Level.OK, f"detected: {'; '.join(evidence)}")
    if isinstance(pods, ZenwatchError):
        return _unknown_pods(watcher.name, own, pods)
    where = f", no pods in {own.namespace}" if pods is not None else ""
    return Check(watcher.name, "tool", Level.OK, f"not there: no {shared[0].full_name} labelled {shared[0].label_selector}{where}")


def tool_without_kinds_check(watcher: Watcher, own: WatcherSettings, pods: Pods, served: ServedKinds) -> Check:
    """None of its kinds is served as it is read."""
    if isinstance(pods, ObjectCount) and pods.objects:
        text = f"{pods} pods in {own.namespace}, but none of its kinds is served: nothing can be read"
        first = (served.absent or list(served.elsewhere))[0]
        lines = (f"Install the tool's CRDs, such as {first.full_name} ({first.version}); its own log says whether it misses them.",)
        return Check(watcher.name, "tool", Level.WARN, text, lines)
    if served.elsewhere:
        text = f"detected: {len(served.elsewhere)} of {served.asked_for} kinds served, in another version"
        return Check(watcher.name, "tool", Level.OK, text)
    where = f", no pods in {own.namespace}" if isinstance(pods, ObjectCount) else ""
    return Check(watcher.name, "tool", Level.OK, f"not there: none of its kinds is served{where}")


def _unknown_pods(name: str, own: WatcherSettings, exc: ZenwatchError) -> Check:
    lines = advice([Permission("list", PODS, own.namespace)], "your account") if isinstance(exc, Forbidden) else ()
    return Check(name, "tool", Level.UNKNOWN, f"whether its pods run in {own.namespace}: {first_line(exc)}", lines)


def _versions(kinds: Sequence[ApiResource]) -> str:
    return ", ".join(dict.fromkeys(f"{kind.group}/{kind.version}" for kind in kinds))
