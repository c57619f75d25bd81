"""`zenwatch top`: the open records, counted by CVE, policy, rule, namespace, image or actor."""

import argparse
import json
import os
from functools import partial
from typing import Any

from zenwatch.api.top import MOST_LINES
from zenwatch.cli.shared.cluster import add_cluster_options, cluster_if_named
from zenwatch.cli.shared.records import read_records
from zenwatch.cli.shared.status_client import StatusClient, add_process_options
from zenwatch.cli.shared.table import table
from zenwatch.cli.shared.terminal import complain, show
from zenwatch.contract import Put, Synced
from zenwatch.errors import Transient
from zenwatch.model.finding import Severity
from zenwatch.model.record import DIMENSIONS
from zenwatch.store.crd.store import CrdStore
from zenwatch.store.crd.top import TopGroups
from zenwatch.wiring.settings import Settings

# Reading 20,000 records takes some seconds: progress shows a person that it works.
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


def _lines(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_LINES:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number from 1 to {MOST_LINES}")
    return int(text)


def _call(parsed: argparse.Namespace) -> int:
    settings = Settings.read(os.environ)
    query = {"by": parsed.dimension, "limit": str(parsed.limit)}
    cluster = cluster_if_named(parsed)
    if parsed.url:
        # A process that was named may store its records in another cluster.
        cluster = None
    groups = _ask_process(StatusClient(parsed, settings), query, is_quiet=cluster is not None)
    if groups is None and cluster is not None:
        groups = read_records(settings, cluster, partial(_group, query=query))
    if groups is None:
        return 1
    if parsed.output == "json":
        show(json.dumps(groups))
    else:
        _print_table(parsed.dimension, groups)
    return 0


def _ask_process(process: StatusClient, query: dict[str, str], *, is_quiet: bool) -> dict[str, Any] | None:
    """None: the process did not answer. stderr has the reason, unless is_quiet."""
    try:
        groups: dict[str, Any] = process.get_json("/top", query)
    except Transient as exc:
        if not is_quiet:
            advice = "Name a cluster (--kubeconfig, --context or KUBECONFIG) to read the records themselves."
            complain(f"zenwatch: no answer from {process.url}: {exc}", advice)
        return None
    return groups


async def _group(store: CrdStore, query: dict[str, str]) -> dict[str, Any]:
    """What the process would answer, from the records themselves."""
    groups, read = TopGroups(), 0
    for part in store.parts:
        async for change in store.follow(part):
            if isinstance(change, Synced):
                break
            if isinstance(change, Put):
                groups.replace(None, change.stored)
                read += 1
                if read % PROGRESS_EVERY_RECORDS == 0:
                    complain(f"{read} records read")
    dimension, limit = query["by"], int(query["limit"])
    return {"by": dimension, "groups": groups.top(dimension, limit), "all": groups.size(dimension)}


def _print_table(dimension: str, answer: dict[str, Any]) -> None:
    groups = answer["groups"]
    if not groups:
        show(f"Nothing is open that has a {dimension}.")
        return
    columns = ("worst", "open", *(severity.value for severity in Severity), "resolved", "value")
    heads = ("WORST", "OPEN", *(severity.value for severity in Severity), "RESOLVED", dimension.upper())
    rows = [heads, *(tuple(str(group[column]) for column in columns) for group in groups)]
    show(*table(rows, right=range(1, len(columns) - 1)))
    if (left := answer["all"] - len(groups)) > 0:
        show(f"... and {left} more (--limit)")
