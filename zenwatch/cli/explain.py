"""`zenwatch explain`: what became of one event, and why."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from zenwatch.cli.cluster import add_cluster_options, cluster_if_named
from zenwatch.cli.process import ProcessDoor, add_process_options
from zenwatch.errors import Transient, ZenwatchError, first_line
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.runtime.settings import Settings
from zenwatch.store.crd.store import CrdStore


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
    outcome_log = _ask_process(parsed, settings)
    cluster = cluster_if_named(parsed)
    records = asyncio.run(_find_records(settings, cluster, parsed.query)) if cluster else []
    for fate in outcome_log or ():
        record = f", record {fate['name']}" if fate["name"] else ""
        print(f"process   {fate['source']}: {fate['outcome']} at {fate['at']}{record}\n          {fate['why']}")
    for found in records:
        _print_record(found)
    if not cluster:
        print("Name a cluster (--kubeconfig, --context or KUBECONFIG) to see the record as well.", file=sys.stderr)
    if not outcome_log and not records:
        print(f"Nothing is known of {parsed.query!r}.", file=sys.stderr)
        return 1
    return 0


def _ask_process(parsed: argparse.Namespace, settings: Settings) -> list[dict[str, str]] | None:
    """None: there is no process that could be asked; stderr says why."""
    door = ProcessDoor(parsed, settings)
    try:
        reply = door.get(f"/explain?{urlencode({'q': parsed.query})}")
        reason = reply.text[:300].strip()
        if reply.status == 200:
            outcome_log: list[dict[str, str]] = json.loads(reply.text)
            return outcome_log
    except (Transient, ValueError) as exc:
        reason = first_line(exc)
    print(f"zenwatch: no answer from {door.url}: {reason}", file=sys.stderr)
    return None


async def _find_records(settings: Settings, cluster: Access, query: str) -> list[Mapping[str, Any]]:
    client = KubeClient(cluster, timeout_secs=settings.api_timeout_secs, connections=2)
    store = CrdStore(client, cluster_ids=[settings.cluster_id], own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces)
    try:
        return [record async for record in store.find(query)]
    except ZenwatchError as exc:
        print(f"zenwatch: the records could not be read: {first_line(exc)}", file=sys.stderr)
        return []
    finally:
        await client.close()


def _print_record(record: Mapping[str, Any]) -> None:
    metadata, spec, status = record["metadata"], record["spec"], record.get("status") or {}
    why = f" ({status['reason']})" if status.get("reason") else ""
    print(f"record    {metadata['namespace']}/{metadata['name']}: {status.get('phase', 'Open')}{why}, {spec['severity']}, {spec['title']}")
    seen = f", last seen {status['lastSeen']}" if status.get("lastSeen") else ""
    print(f"          reported {status.get('count', 1)} times, detected {spec['detectedAt']}, stored {metadata['creationTimestamp']}{seen}")
    if status.get("resolvedAt") or status.get("reopened"):
        until = f"resolved {status['resolvedAt']}, " if status.get("resolvedAt") else ""
        print(f"          first seen {status.get('firstSeen', 'unknown')}, {until}reopened {status.get('reopened', 0)} times")
    rule = spec.get("details", {}).get("rule")
    print(f"          source {spec['source']}, key {spec['key']}" + (f", rule {rule}" if rule else ""))
