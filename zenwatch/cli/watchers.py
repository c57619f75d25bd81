"""`zenwatch watchers`: the installed watchers, what they read and need, and what they find in a cluster."""

import argparse
import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import entry_points
from itertools import chain, repeat
from typing import Any

from zenwatch.cli.shared.cluster import add_cluster_options, cluster_if_named
from zenwatch.cli.shared.table import table
from zenwatch.cli.shared.terminal import show
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.sdk.settings import WatcherSettings
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher
from zenwatch.sources.pull.detection import survey
from zenwatch.wiring.plugins import installed_watchers, settings_of
from zenwatch.wiring.settings import Settings


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "List every installed watcher: where it comes from, what it detects and reads, the RBAC that it needs; and, where a "
        "cluster is named, what it finds there."
    )
    add_cluster_options(command)
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    watchers = [(watcher, settings_of(watcher, os.environ)) for watcher in installed_watchers()]
    origins = {point.load().name: f"{point.value} of {point.dist.name if point.dist else '?'}" for point in _points()}
    cluster = cluster_if_named(parsed)
    found = asyncio.run(_survey(Settings.read(os.environ), cluster, watchers)) if cluster else {}
    for watcher, own in watchers:
        show(f"{watcher.name}" + ("" if own.enabled else "   (disabled)"))
        rows = [
            ("from", origins[watcher.name]),
            ("severity", f"{own.min_severity} and above"),
            ("detects", _detection(watcher, own)),
            *_labelled("reads", _reads(watcher)),
            *_labelled("needs", _needs(watcher, own)),
            *_labelled("found", found.get(watcher.name, ())),
        ]
        show(*(f"    {line}" for line in table(rows, gap="  ")))
    if not cluster:
        show("", "Name a cluster (--kubeconfig, --context or KUBECONFIG) to see what they find there.")
    return 0


def _labelled(label: str, values: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The label stands before the first value only."""
    return zip(chain([label], repeat("")), values, strict=False)


def _points() -> Iterable[Any]:
    return entry_points(group="zenwatch.watchers")


async def _survey(settings: Settings, access: Access, watchers: Sequence[tuple[AnyWatcher, WatcherSettings]]) -> dict[str, list[str]]:
    """What each watcher would find in the cluster now, as printed lines."""
    client = KubeClient(access, timeout_secs=settings.api_timeout_secs, connections=8)
    try:
        return {watcher.name: [line async for line in survey(client, watcher, namespace=own.namespace)] for watcher, own in watchers}
    finally:
        await client.close()


def _detection(watcher: AnyWatcher, own: WatcherSettings) -> str:
    pods = f"pods labelled {watcher.pod_labels} in {own.namespace}" if own.namespace else ""
    kinds = "labelled objects" if any(kind.label_selector for kind in watcher.reads) else "its kinds"
    if isinstance(watcher, PushWatcher):
        kinds = f"what is posted to {watcher.path}"
    return " or ".join(filter(None, (kinds, pods)))


def _reads(watcher: AnyWatcher) -> Iterator[str]:
    if isinstance(watcher, PushWatcher):
        yield f"POST {watcher.path} ({', '.join(watcher.media_types)})"
    for kind in watcher.reads:
        yield f"{kind.full_name} ({kind.version})" + (f" labelled {kind.label_selector}" if kind.label_selector else "")


def _needs(watcher: AnyWatcher, own: WatcherSettings) -> Iterator[str]:
    for kind in watcher.reads:
        yield f"list, watch {kind.full_name}"
    if own.namespace:
        yield f"list pods in namespace {own.namespace} (to detect it; not needed to read)"
