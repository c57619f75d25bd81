"""How each source is: whether its tool is there, whether it can be read, what it said last.

In: the API server, and what the running process told.  Out: checks, whose area is the source's name.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zenwatch.contract import Clock
from zenwatch.doctor import census
from zenwatch.doctor.census import Census
from zenwatch.doctor.check import Check, Level, since, span
from zenwatch.doctor.hooks import hook_checks
from zenwatch.doctor.permissions import Account, Permission, advice, read_needs, told
from zenwatch.doctor.process import Told
from zenwatch.doctor.served import Served, find
from zenwatch.doctor.storage import not_asked
from zenwatch.errors import Forbidden, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.kinds import PODS
from zenwatch.kube.scopes import scopes_of
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.settings import WatcherSettings, watcher_prefix
from zenwatch.sdk.watcher import AnyWatcher, ApiResource, PushWatcher, Watcher


@dataclass(frozen=True)
class Surroundings:
    """account_name: whose permissions those of account are. open_records: by source, or why they could not be counted."""

    client: KubeClient
    settings: Settings
    account: Account
    account_name: str
    process: Told
    open_records: Mapping[str, Census] | ZenwatchError
    clock: Clock


async def look(watcher: AnyWatcher, own: WatcherSettings, around: Surroundings) -> list[Check]:
    name = watcher.name
    if not own.enabled:
        return [Check(name, "tool", Level.OK, f"switched off ({watcher_prefix(name)}ENABLED=false)")]
    pods = await _pods(watcher, own, around)
    if isinstance(watcher, PushWatcher):
        speaks = _last_said(name, around, Census())
        return [_pushing_tool(watcher, own, pods), *hook_checks(watcher, around.process, around.clock), *_data(name, around, speaks)]
    return await _look_at_reports(watcher, own, pods, around)


def _pushing_tool(watcher: PushWatcher, own: WatcherSettings, pods: Census | ZenwatchError | None) -> Check:
    if pods is None:
        return Check(watcher.name, "tool", Level.OK, "not looked for: its posts show that it is there")
    if isinstance(pods, ZenwatchError):
        return _unseen(watcher.name, own, pods)
    text = f"detected: {pods} pods in {own.namespace}" if pods.objects else f"not there: no pods in {own.namespace}"
    return Check(watcher.name, "tool", Level.OK, text)


async def _pods(watcher: AnyWatcher, own: WatcherSettings, around: Surroundings) -> Census | ZenwatchError | None:
    """None: it leaves none, or they are out of our reach, so they are not looked for."""
    reach = around.settings.watch_namespaces
    if not own.namespace or (reach and own.namespace not in reach):
        return None
    pods = ApiResource(PODS.group, PODS.version, PODS.plural, PODS.kind, label_selector=watcher.pod_labels)
    try:
        return await census.count(around.client, pods, own.namespace)
    except ZenwatchError as exc:
        return exc


def _unseen(name: str, own: WatcherSettings, exc: ZenwatchError) -> Check:
    lines = tuple(advice([Permission("list", PODS, own.namespace)], "your account")) if isinstance(exc, Forbidden) else ()
    return Check(name, "tool", Level.UNKNOWN, f"whether its pods run in {own.namespace}: {first_line(exc)}", lines)


# ---------------------------------------------------------------- tools whose reports are read


async def _look_at_reports(
    watcher: Watcher, own: WatcherSettings, pods: Census | ZenwatchError | None, around: Surroundings
) -> list[Check]:
    name = watcher.name
    kinds = list(dict.fromkeys(resource for resource, _ in scopes_of(watcher, around.settings)))
    try:
        served = await find(around.client, kinds)
    except ZenwatchError as exc:
        return [Check(name, "tool", Level.UNKNOWN, f"whether its kinds are served: {first_line(exc)}")]
    checks = [_wrong_version(name, kind, versions) for kind, versions in served.elsewhere.items()]
    if not served.kinds:
        return [_without_kinds(watcher, own, pods, served), *checks]
    reports, refusal = await _reports(watcher, served, around)
    tool = _tool(watcher, own, pods, served, reports)
    access = await _access(watcher, served, around)
    return [tool, *checks, access, *_data(name, around, _last_said(name, around, reports), refusal)]


def _wrong_version(name: str, kind: ApiResource, versions: Sequence[str]) -> Check:
    text = f"{kind.full_name} is served as {', '.join(versions)}, but read as {kind.version}: its reports are not read"
    lines = (
        f"Install a zenwatch that reads {versions[0]}; or let the API server serve {kind.version} as well:",
        f"kubectl edit crd {kind.full_name} (spec.versions), where the tool's own definition has it.",
    )
    return Check(name, "version", Level.FAIL, text, lines)


def _without_kinds(watcher: Watcher, own: WatcherSettings, pods: Census | ZenwatchError | None, served: Served) -> Check:
    if isinstance(pods, Census) and pods.objects:
        text = f"{pods} pods in {own.namespace}, but none of its kinds is served: nothing can be read"
        first = (served.absent or list(served.elsewhere))[0]
        lines = (f"Install the tool's CRDs, such as {first.full_name} ({first.version}); its own log says whether it misses them.",)
        return Check(watcher.name, "tool", Level.WARN, text, lines)
    if served.elsewhere:
        text = f"detected: {len(served.elsewhere)} of {served.asked_for} kinds served, in another version"
        return Check(watcher.name, "tool", Level.OK, text)
    where = f", no pods in {own.namespace}" if isinstance(pods, Census) else ""
    return Check(watcher.name, "tool", Level.OK, f"not there: none of its kinds is served{where}")


async def _reports(watcher: Watcher, served: Served, around: Surroundings) -> tuple[Census, ZenwatchError | None]:
    """Of all kinds and places together, and the last reason why one of them could not be counted. What the process knows is not counted."""
    whole, refusal = Census(), None
    said = around.process.source(watcher.name)
    if said and said.last_data_at and not any(kind.label_selector for kind in served.kinds):
        return whole, None
    for resource, namespace in scopes_of(watcher, around.settings):
        if resource in served.kinds:
            try:
                whole.add(await census.count(around.client, resource, namespace))
            except ZenwatchError as exc:
                refusal = exc
    return whole, refusal


def _tool(watcher: Watcher, own: WatcherSettings, pods: Census | ZenwatchError | None, served: Served, reports: Census) -> Check:
    """ConfigMaps are served everywhere: only labelled ones speak for the tool."""
    shared = [kind for kind in served.kinds if kind.label_selector]
    kinds = f"{len(served.kinds)} of {served.asked_for} kinds served as {_versions(served.kinds)}"
    evidence = [] if shared else [kinds]
    if shared and reports.objects:
        evidence.append(f"{reports} {shared[0].full_name} labelled {shared[0].label_selector}")
    if isinstance(pods, Census) and pods.objects:
        evidence.append(f"{pods} pods in {own.namespace}")
    if evidence:
        return Check(watcher.name, "tool", Level.OK, f"detected: {'; '.join(evidence)}")
    if isinstance(pods, ZenwatchError):
        return _unseen(watcher.name, own, pods)
    where = f", no pods in {own.namespace}" if pods is not None else ""
    return Check(watcher.name, "tool", Level.OK, f"not there: no {shared[0].full_name} labelled {shared[0].label_selector}{where}")


def _versions(kinds: Sequence[ApiResource]) -> str:
    return ", ".join(dict.fromkeys(f"{kind.group}/{kind.version}" for kind in kinds))


async def _access(watcher: Watcher, served: Served, around: Surroundings) -> Check:
    """What is not served need not be readable."""
    name = watcher.name
    needs = [need for need in read_needs(watcher, around.settings) if need.resource in served.kinds]
    try:
        missing = await around.account.missing(needs)
    except ZenwatchError as exc:
        return not_asked(name, "access", exc)
    if not missing:
        return Check(name, "access", Level.OK, f"{', '.join(dict.fromkeys(need.verb for need in needs))}: granted")
    # Of kinds that everybody writes we cannot know whether there is anything to be read.
    level = Level.FAIL if any(not need.resource.label_selector for need in missing) else Level.WARN
    lines = (*advice(missing, around.account_name), f"Or, where the tool is not used: {watcher_prefix(name)}ENABLED=false")
    return Check(name, "access", level, f"{around.account_name} may not {told(missing)}: its findings are not read", lines)


# ---------------------------------------------------------------- what it said last


def _last_said(name: str, around: Surroundings, reports: Census) -> str:
    """The process knows best; without it, the newest report, or our newest open record of it."""
    now, said = around.clock.now(), around.process.source(name)
    if said and said.last_data_at:
        return f"last data {since(said.last_data_at, now)}"
    if reports.newest:
        return f"{reports} reports, the newest {since(reports.newest, now)}"
    if reports.objects:
        return f"{reports} reports"
    records = around.open_records.get(name) if isinstance(around.open_records, Mapping) else None
    if records and records.newest:
        return f"newest open record {since(records.newest, now)}"
    return "no data yet" if said else "no data seen"


def _data(name: str, around: Surroundings, last_said: str, refusal: ZenwatchError | None = None) -> list[Check]:
    said, now = around.process.source(name), around.clock.now()
    checks: list[Check] = []
    if said and said.silent_since:
        text = f"silent for {span((now - said.silent_since).total_seconds())}, longer than usual; {last_said}"
        prefix = watcher_prefix(name)
        ways_out = (
            "Look whether the tool still works: its pods and its log.",
            f"If it may be so silent, raise {prefix}SILENCE_AFTER; if it is gone for good: {prefix}ENABLED=false",
        )
        checks.append(Check(name, "silence", Level.WARN, text, ways_out))
    if said and said.missing_fields:
        text = f"what it sends lacks {', '.join(said.missing_fields)}: findings are stored without, or not at all"
        lines = ("Compare its version with those that zenwatch was tested with; zenwatch preview FILE shows what becomes of a report.",)
        checks.append(Check(name, "fields", Level.WARN, text, lines))
    return [*checks, _open(name, around, last_said, refusal)]


def _open(name: str, around: Surroundings, last_said: str, refusal: ZenwatchError | None) -> Check:
    said = around.process.source(name)
    if refusal is not None:
        return Check(name, "data", Level.UNKNOWN, f"{last_said}; not all could be counted: {first_line(refusal)}")
    if said and said.open_records is not None:
        return Check(name, "data", Level.OK, f"{last_said}; {said.open_records} records open")
    if isinstance(around.open_records, ZenwatchError):
        return Check(name, "data", Level.UNKNOWN, f"{last_said}; records open: {first_line(around.open_records)}")
    return Check(name, "data", Level.OK, f"{last_said}; {around.open_records.get(name, Census())} records open")
