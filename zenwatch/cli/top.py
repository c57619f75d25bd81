"""`zenwatch top`: what is open, many records as one line."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from zenwatch.api.top import MOST_LINES
from zenwatch.cli.cluster import add_cluster_options, cluster_if_named
from zenwatch.cli.process import ProcessDoor, add_process_options
from zenwatch.config.core import Settings
from zenwatch.contract import Put, Synced
from zenwatch.errors import Transient, ZenwatchError, first_line
from zenwatch.kube.access import Access
from zenwatch.kube.client import KubeClient
from zenwatch.model.finding import Severity
from zenwatch.store.crd.store import CrdStore
from zenwatch.store.crd.top import DIMENSIONS, Groups

# Reading 20,000 records takes some seconds: a person wants to know that something happens.
PROGRESS_EVERY_RECORDS = 5000


def define(command: argparse.ArgumentParser) -> None:
    command.description = (
        "Show what is open, grouped: those with the most CRITICAL records first, then HIGH, and so on. The process that runs is asked "
        "(where LISTEN says, with a token of WEBHOOK_TOKEN_FILE); where none answers and a cluster is named, the records are read."
    )
    command.add_argument("dimension", metavar="|".join(DIMENSIONS), choices=DIMENSIONS, nargs="?", default="cve", help="(default: cve)")
    command.add_argument("--limit", type=_lines, default=20, metavar="LINES", help="how many at most (default: 20)")
    command.add_argument("-o", "--output", choices=("table", "json"), default="table")
    add_process_options(command)
    add_cluster_options(command)
    command.set_defaults(call=_call)


def _lines(said: str) -> int:
    if not said.isdecimal() or not 1 <= int(said) <= MOST_LINES:
        raise argparse.ArgumentTypeError(f"{said!r}; expected a whole number from 1 to {MOST_LINES}")
    return int(said)


def _call(parsed: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    query = {"by": parsed.dimension, "limit": str(parsed.limit)}
    cluster = cluster_if_named(parsed)
    told = _ask_process(ProcessDoor(parsed, settings), query, is_quiet=cluster is not None and not parsed.url)
    if told is None and cluster is not None and not parsed.url:
        told = asyncio.run(_read_records(settings, cluster, query))
    if told is None:
        return 1
    if parsed.output == "json":
        print(json.dumps(told))
    else:
        _print_table(parsed.dimension, told)
    return 0


def _ask_process(door: ProcessDoor, query: dict[str, str], *, is_quiet: bool) -> dict[str, Any] | None:
    """None: there is no process that could be asked; stderr says why, unless the records can be read instead."""
    try:
        reply = door.get(f"/top?{urlencode(query)}")
        if reply.status == 200:
            told: dict[str, Any] = json.loads(reply.text)
            return told
        reason = reply.text[:300].strip()
    except (Transient, ValueError) as exc:
        reason = first_line(exc)
    if not is_quiet:
        advice = "Name a cluster (--kubeconfig, --context or KUBECONFIG) to read the records themselves."
        print(f"zenwatch: no answer from {door.url}: {reason}\n{advice}", file=sys.stderr)
    return None


async def _read_records(settings: Settings, cluster: Access, query: dict[str, str]) -> dict[str, Any] | None:
    client = KubeClient(cluster, timeout_secs=settings.api_timeout_secs, connections=2)
    store = CrdStore(client, cluster_id=settings.cluster_id, own_namespace=settings.own_namespace, namespaces=settings.watch_namespaces)
    groups, read = Groups(), 0
    try:
        for part in store.parts:
            async for change in store.follow(part):
                if isinstance(change, Synced):
                    break
                if isinstance(change, Put):
                    groups.replace(None, change.stored)
                    read += 1
                    if read % PROGRESS_EVERY_RECORDS == 0:
                        print(f"{read} records read", file=sys.stderr)
    except ZenwatchError as exc:
        print(f"zenwatch: the records could not be read: {first_line(exc)}", file=sys.stderr)
        return None
    finally:
        await client.close()
    dimension, limit = query["by"], int(query["limit"])
    return {"by": dimension, "groups": groups.top(dimension, limit), "all": groups.size(dimension)}


def _print_table(dimension: str, told: dict[str, Any]) -> None:
    if not told["groups"]:
        print(f"Nothing is open that has a {dimension}.")
        return
    columns = ("worst", "open", *(severity.value for severity in Severity), "resolved", "value")
    heads = ("WORST", "OPEN", *(severity.value for severity in Severity), "RESOLVED", dimension.upper())
    rows = [heads, *(tuple(str(group[column]) for column in columns) for group in told["groups"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(heads))]
    for row in rows:
        print(_aligned(row, widths))
    if (left := told["all"] - len(told["groups"])) > 0:
        print(f"... and {left} more (--limit)")


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers to the right, words to the left."""
    cells = [
        cell.ljust(width) if place in (0, len(row) - 1) else cell.rjust(width)
        for place, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "   ".join(cells).rstrip()
