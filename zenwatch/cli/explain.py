"""`zenwatch explain`: what happened to one event, and why."""

import argparse
import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from zenwatch.cli.shared.cluster import add_cluster_options, cluster_if_named
from zenwatch.cli.shared.records import read_records
from zenwatch.cli.shared.status_client import StatusClient, add_process_options
from zenwatch.cli.shared.terminal import complain, show
from zenwatch.errors import Transient
from zenwatch.store.crd.store import CrdStore
from zenwatch.wiring.settings import Settings


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Tell what became of one event: from the process that runs, which remembers the last ones, and from the record where a cluster is "
        "named. The process is asked where LISTEN says, with a token of WEBHOOK_TOKEN_FILE. Exit code 1: nothing is known of it."
    )
    command.add_argument("query", metavar="KEY|NAME|AUDIT-ID", help="a record's spec.key or name, or an audit event's auditID")
    add_process_options(command)
    add_cluster_options(command)
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    outcomes = _ask_process(StatusClient(parsed, settings), parsed.query)
    cluster = cluster_if_named(parsed)
    records = read_records(settings, cluster, partial(_find, query=parsed.query)) if cluster else None
    for outcome in outcomes or ():
        record = f", record {outcome['name']}" if outcome["name"] else ""
        show(f"process   {outcome['source']}: {outcome['outcome']} at {outcome['at']}{record}", f"          {outcome['why']}")
    for found in records or ():
        _print_record(found)
    if not cluster:
        complain("Name a cluster (--kubeconfig, --context or KUBECONFIG) to see the record as well.")
    if not outcomes and not records:
        complain(f"Nothing is known of {parsed.query!r}.")
        return 1
    return 0


def _ask_process(process: StatusClient, query: str) -> list[dict[str, str]] | None:
    """None: the process did not answer; stderr has the reason."""
    try:
        outcomes: list[dict[str, str]] = process.get_json("/explain", {"q": query})
    except Transient as exc:
        complain(f"zenwatch: no answer from {process.url}: {exc}")
        return None
    return outcomes


async def _find(store: CrdStore, query: str) -> list[Mapping[str, Any]]:
    return [record async for record in store.find(query)]


def _print_record(record: Mapping[str, Any]) -> None:
    metadata, spec, status = record["metadata"], record["spec"], record.get("status") or {}
    why = f" ({status['reason']})" if status.get("reason") else ""
    show(f"record    {metadata['namespace']}/{metadata['name']}: {status.get('phase', 'Open')}{why}, {spec['severity']}, {spec['title']}")
    seen = f", last seen {status['lastSeen']}" if status.get("lastSeen") else ""
    show(f"          reported {status.get('count', 1)} times, detected {spec['detectedAt']}, stored {metadata['creationTimestamp']}{seen}")
    if status.get("resolvedAt") or status.get("reopened"):
        until = f"resolved {status['resolvedAt']}, " if status.get("resolvedAt") else ""
        show(f"          first seen {status.get('firstSeen', 'unknown')}, {until}reopened {status.get('reopened', 0)} times")
    rule = spec.get("details", {}).get("rule")
    show(f"          source {spec['source']}, key {spec['key']}" + (f", rule {rule}" if rule else ""))
