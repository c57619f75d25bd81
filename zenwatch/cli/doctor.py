"""`zenwatch doctor`: print what is wrong, and how to repair it."""

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import yaml

from zenwatch import log
from zenwatch.cli.crds import crd_files
from zenwatch.cli.shared.cluster import add_cluster_options, named_cluster, settings_in
from zenwatch.cli.shared.status_client import StatusClient, add_process_options
from zenwatch.cli.shared.table import table
from zenwatch.cli.shared.terminal import show_coloured, show_text
from zenwatch.doctor.check import Check, Level, exit_code
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.examine import Diagnosis, examine
from zenwatch.errors import ConfigError
from zenwatch.kube.access import Access, is_in_pod
from zenwatch.kube.client import KubeClient
from zenwatch.kube.kinds import RECORDS
from zenwatch.model.text import clean
from zenwatch.runtime.clock import SystemClock
from zenwatch.wiring.plugins import installed_watchers, settings_of, unknown_settings
from zenwatch.wiring.settings import Settings

_DESCRIPTION = """Examine everything that zenwatch needs, and print what is wrong and what to type or change to mend it: the API
server, our kind and its schema, permissions, the process that runs, and for each source whether its tool is
there, which version of its kinds is served, when it last sent data and how many of its records are open.

Nothing is changed. It works without a running zenwatch; what only that one knows is then UNKNOWN. Checked are the
permissions of the account that is used: name zenwatch's own with --as-service-account zenwatch/zenwatch.
The settings of this environment apply: give it those of the process (LISTEN, WEBHOOK_TOKEN_FILE, WATCH_NAMESPACE ...)."""
_EXIT_CODES = """exit codes: 0 all well; 1 something needs attention (WARN); 2 something is broken, findings are lost or nothing
can be stored (FAIL), or a setting or argument is wrong. UNKNOWN changes nothing."""
# Each request of doctor is small: if it takes longer, something is broken.
REQUEST_TIMEOUT_SECS = 10.0
_COLOURS = {Level.OK: "32", Level.WARN: "33", Level.FAIL: "31;1", Level.UNKNOWN: "36"}
_WORDS = {Level.FAIL: "failed", Level.WARN: "to look at", Level.UNKNOWN: "unknown", Level.OK: "well"}


def define(command: argparse.ArgumentParser) -> None:
    command.description, command.epilog = _DESCRIPTION, _EXIT_CODES
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    add_cluster_options(command)
    command.add_argument(
        "--as-service-account", metavar="NAMESPACE/NAME", default="", help="check this account's permissions (default: those of who asks)"
    )
    add_process_options(command)
    command.add_argument("-o", "--output", choices=("table", "json"), default="table", help="json: all checks as one object")
    command.set_defaults(call=_call)


def _call(parsed: argparse.Namespace) -> int:
    account = parsed.as_service_account
    if account and not re.fullmatch(r"[a-z0-9.-]+/[a-z0-9.-]+", account):
        raise ConfigError(f"--as-service-account is {account!r}; expected NAMESPACE/NAME, such as zenwatch/zenwatch.")
    # Everything that doctor finds is a check, so that the log is not needed.
    log.configure(level="error", style="auto")
    cluster = named_cluster(parsed)
    settings = settings_in(cluster, Settings.read(os.environ))
    diagnosis = asyncio.run(_examine(cluster, settings, StatusClient(parsed, settings), account))
    is_coloured = log.is_coloured(sys.stdout, os.environ)
    if parsed.output == "json":
        show_text(_as_json(diagnosis))
    else:
        for line in _as_table(diagnosis, cluster.describe, is_coloured=is_coloured):
            show_coloured(line)
    return exit_code(diagnosis.checks)


async def _examine(cluster: Access, settings: Settings, process: StatusClient, account: str) -> Diagnosis:
    client = KubeClient(
        cluster, timeout_secs=min(REQUEST_TIMEOUT_SECS, settings.api_timeout_secs), connections=8, rate_per_sec=settings.api_rate
    )
    watchers = [(watcher, settings_of(watcher, os.environ)) for watcher in installed_watchers()]
    context = DoctorContext(
        settings,
        watchers,
        client,
        cluster.server,
        process,
        _definition(),
        SystemClock(),
        service_account=account,
        is_in_pod=is_in_pod(os.environ),
        unknown_settings=unknown_settings(os.environ),
    )
    try:
        return await examine(context)
    finally:
        await client.close()


def _definition() -> dict[str, Any]:
    documents = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in crd_files())
    return next(document for document in documents if document["spec"]["names"]["kind"] == RECORDS.kind)


# ---------------------------------------------------------------- what is printed


def _as_table(diagnosis: Diagnosis, cluster: str, *, is_coloured: bool) -> Iterator[str]:
    """A line for each check, with its advice below it."""
    checks = diagnosis.checks
    for check, line in zip(checks, table(list(_rows(checks, is_coloured=is_coloured)), gap="  "), strict=True):
        yield line
        yield from (f"    {clean(advice)}" for advice in check.advice)
    yield ""
    yield _summary(checks)
    yield clean(f"Cluster: {cluster}. Permissions checked: {_whose(diagnosis.account)}.")


def _rows(checks: Sequence[Check], *, is_coloured: bool) -> Iterator[tuple[str, str, str]]:
    """An area is named once, at its first check."""
    for before, check in zip(("", *(check.area for check in checks)), checks, strict=False):
        yield check.area if check.area != before else "", check.title, f"{_word(check.level, is_coloured=is_coloured)} {clean(check.text)}"


def _whose(account: str) -> str:
    if not account or account.startswith("system:serviceaccount:"):
        return f"those of {account}" if account else "none"
    return f"those of {account} (zenwatch's own: --as-service-account zenwatch/zenwatch)"


def _word(level: Level, *, is_coloured: bool) -> str:
    return f"\033[{_COLOURS[level]}m{level:7}\033[0m" if is_coloured else f"{level:7}"


def _summary(checks: list[Check]) -> str:
    levels = [check.level for check in checks]
    counts = {level: levels.count(level) for level in Level}
    verdict = ("All well", "Something needs attention", "Something is broken")[exit_code(checks)]
    return f"{verdict}: {', '.join(f'{counts[level]} {word}' for level, word in _WORDS.items() if counts[level])}."


def _as_json(diagnosis: Diagnosis) -> str:
    checks = [asdict(check) for check in diagnosis.checks]
    return json.dumps({"account": diagnosis.account, "exitCode": exit_code(diagnosis.checks), "checks": checks}, indent=2)
