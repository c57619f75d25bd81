"""A whole diagnosis, in the order in which it is printed: the API server, the store, the process, each source."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.api_server import check_api_server
from zenwatch.doctor.cluster.object_count import ObjectCount
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.process.checks import process_checks
from zenwatch.doctor.process.report import ask_process
from zenwatch.doctor.process.start import start_checks, variable_checks
from zenwatch.doctor.sources.checks import source_checks
from zenwatch.doctor.store.access import access_checks
from zenwatch.doctor.store.crd import crd_checks
from zenwatch.doctor.store.options import option_checks
from zenwatch.doctor.store.records import count_open_records
from zenwatch.errors import ZenwatchError


@dataclass(frozen=True)
class Diagnosis:
    """account: whose permissions were checked; empty if the API server could not be asked."""

    checks: list[Check]
    account: str = ""


async def examine(context: DoctorContext) -> Diagnosis:
    """Reads only: nothing is changed, neither in the cluster nor in the process. Every request has a timeout."""
    api_server, process = await asyncio.gather(
        check_api_server(context.client, context.clock, context.api_server),
        ask_process(context.status_api, context.webhook_paths, context.clock),
    )
    context = replace(context, process=process)
    of_process = [*process_checks(process, context.clock, api_server.ahead_secs), *start_checks(context), *variable_checks(context)]
    if not api_server.is_reachable:
        return Diagnosis([*api_server.checks, _unseen(), *of_process])
    context = await _learn(context)
    of_store = await asyncio.gather(
        crd_checks(context.client, context.definition),
        access_checks(context),
        option_checks(context),
    )
    of_sources = await asyncio.gather(*(source_checks(watcher, own, context) for watcher, own in context.watchers))
    checks = [*api_server.checks, *chain.from_iterable(of_store), *of_process, *chain.from_iterable(of_sources)]
    return Diagnosis(checks, context.account_name)


def _unseen() -> Check:
    """One line in place of everything that only the API server knows."""
    return Check("store", "records", Level.UNKNOWN, "neither the store nor the sources were looked at: see cluster")


async def _learn(context: DoctorContext) -> DoctorContext:
    name, open_records = await asyncio.gather(context.account.name(), _open_records(context))
    return replace(context, account_name=name, open_records=open_records)


async def _open_records(context: DoctorContext) -> Mapping[str, ObjectCount] | ZenwatchError:
    """Counted only if the process does not know: there may be a hundred thousand records."""
    enabled = [watcher.name for watcher, own in context.watchers if own.enabled]
    if all(context.process.source(name) for name in enabled):
        return {}
    try:
        return await count_open_records(context.client, context.settings)
    except ZenwatchError as exc:
        return exc
