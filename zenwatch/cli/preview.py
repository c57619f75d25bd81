"""`zenwatch preview`: the records that report files would become, without a cluster."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from zenwatch.cli.shared.table import table
from zenwatch.cli.shared.terminal import complain, show, show_text
from zenwatch.errors import ConfigError
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher, SelfIdentity
from zenwatch.wiring.plugins import installed_watchers, settings_of
from zenwatch.wiring.preview import Preview
from zenwatch.wiring.settings import Settings

# Many files take a while: progress shows a person that it works.
PROGRESS_EVERY_FILES = 20
_COLUMNS = ("NAMESPACE", "NAME", "SEVERITY", "SCORE", "SOURCE", "RESOURCE", "TITLE", "COUNT")


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Show the records that report files would become. A file may hold a Kubernetes object, a List, several YAML documents, "
        "a ConfigMap, or what a tool printed; whose it is, is recognised by its content. TRIVY_MIN_SEVERITY and the like apply. "
        "Exit code 1: a file could not be read, or nothing in it; the reason stands on stderr."
    )
    command.add_argument("files", metavar="FILE", nargs="+", help="a file, or - for standard input")
    command.add_argument("--source", metavar="NAME", help="read all of it as this watcher's (see `zenwatch watchers`)")
    command.add_argument("-o", "--output", choices=("table", "json", "yaml"), default="table", help="json: one object per line")
    command.add_argument("--explain", action="store_true", help="say of each pushed event (Falco, audit) which rule decided")
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    watchers = _chosen(parsed.source)
    thresholds = {watcher.name: settings_of(watcher, os.environ).min_severity for watcher in watchers}
    judges = {
        watcher.name: watcher.prepare(settings_of(watcher, os.environ), SelfIdentity(own_namespace=settings.own_namespace))
        for watcher in watchers
        if isinstance(watcher, PushWatcher)
    }
    preview = Preview(watchers, thresholds, settings.cluster_id, settings.own_namespace, judges, is_forced=bool(parsed.source))
    preview.groups_by_owner = settings.group_by_owner
    for read, name in enumerate(parsed.files, start=1):
        _add(preview, name)
        if read % PROGRESS_EVERY_FILES == 0:
            complain(f"{read} of {len(parsed.files)} files read")
    records = sorted(preview.records(), key=lambda record: (-record["spec"]["score"], record["metadata"]["name"]))
    if parsed.explain:
        for label, verdict in preview.judged:
            show(f"{'left ' if verdict.finding is None else 'taken'}  {label}  {verdict.rule}: {verdict.why}")
    else:
        _print(records, parsed.output)
    for line in (*preview.passed_over, *preview.errors):
        complain(f"zenwatch: {line}")
    left = f", {preview.excluded} events left out (--explain says why)" if preview.excluded and not parsed.explain else ""
    below = (f", {preview.filtered} below the threshold" if preview.filtered else "") + left
    complain(f"{preview.objects} reports with {preview.findings} findings{below}: {len(records)} records")
    return 1 if preview.errors or not preview.objects else 0


def _chosen(source: str | None) -> list[AnyWatcher]:
    watchers = installed_watchers()
    chosen = [watcher for watcher in watchers if source in (None, watcher.name)]
    if not chosen:
        raise ConfigError(f"--source is {source!r}; expected one of {', '.join(watcher.name for watcher in watchers)}.")
    return chosen


def _add(preview: Preview, name: str) -> None:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as exc:
        preview.errors.append(f"{name}: {exc.strerror}")
    else:
        preview.add("stdin" if name == "-" else name, raw)


def _print(records: Sequence[dict[str, Any]], output: str) -> None:
    if output == "json":
        for record in records:
            show(orjson.dumps(record).decode())
    elif output == "yaml":
        show_text(yaml.safe_dump_all([orjson.loads(orjson.dumps(record)) for record in records], sort_keys=False, allow_unicode=True))
    elif records:
        show(*table([_COLUMNS, *map(_row, records)]))


def _row(record: dict[str, Any]) -> tuple[str, ...]:
    spec, metadata = record["spec"], record["metadata"]
    resource = spec.get("resource", {}).get("name", "")
    count = str(record["status"]["count"])
    return metadata["namespace"], metadata["name"], spec["severity"], str(spec["score"]), spec["source"], resource, spec["title"], count
