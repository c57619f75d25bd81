"""The whole examination, in order: the way to the API server, the process, the store, each source.

In: a Case.  Out: a Diagnosis.
Owns: nothing; the client is the caller's.
Stops: with its caller; every request has a timeout.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from zenwatch.contract import Clock
from zenwatch.doctor import census, options, process, served, sources, storage, vantage
from zenwatch.doctor.census import Census
from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.permissions import Account
from zenwatch.doctor.process import Door, Told
from zenwatch.errors import ConfigError, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.settings import WatcherSettings
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher
from zenwatch.web.server_config import server_config


@dataclass(frozen=True)
class Case:
    """server: the API server's address. definition: the CRD of our kind that comes with this zenwatch.

    service_account: NAMESPACE/NAME of whom the permissions are checked; empty: of who the client is. is_in_pod: doctor itself.
    """

    settings: Settings
    watchers: Sequence[tuple[AnyWatcher, WatcherSettings]]
    client: KubeClient
    server: str
    door: Door
    definition: Mapping[str, Any]
    clock: Clock
    service_account: str = ""
    is_in_pod: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """account: whose permissions were checked; empty where nobody could be asked."""

    checks: list[Check]
    account: str = ""


async def examine(case: Case) -> Diagnosis:
    """Reads only: nothing is changed, neither in the cluster nor in the process."""
    paths = [watcher.path for watcher, own in case.watchers if isinstance(watcher, PushWatcher) and own.enabled]
    view, told = await asyncio.gather(
        vantage.look(case.client, case.clock, case.server),
        process.ask(case.door, paths, case.clock),
    )
    of_process = [*process.checks_of(told, case.clock, view.server_ahead_secs), *(_would_start(case) if told.no_answer else ())]
    if not view.is_clear:
        unseen = Check("store", "records", Level.UNKNOWN, "neither the store nor the sources were looked at: see cluster")
        return Diagnosis([*view.checks, unseen, *of_process])
    account = Account(case.client, case.service_account)
    name = await _name_of(account)
    records, of_kind, of_store, of_options = await asyncio.gather(
        _open_records(case, told),
        served.look(case.client, case.definition),
        storage.look(case.client, account, name, case.settings),
        options.look(account, name, case.settings),
    )
    around = sources.Surroundings(case.client, case.settings, account, name, told, records, case.clock)
    of_sources = await asyncio.gather(*(sources.look(watcher, own, around) for watcher, own in case.watchers))
    return Diagnosis([*view.checks, *of_kind, *of_store, *of_options, *of_process, *chain.from_iterable(of_sources)], name)


def _would_start(case: Case) -> list[Check]:
    """A process that runs has settings of its own; where none does, ours are what it would be started with."""
    try:
        server_config(case.settings, is_in_pod=case.is_in_pod, clock=case.clock)
    except ConfigError as exc:
        text = "zenwatch run would not start with the settings that doctor has"
        return [Check(process.AREA, "settings", Level.FAIL, text, (str(exc),))]
    return []


async def _name_of(account: Account) -> str:
    try:
        return await account.name()
    except ZenwatchError as exc:
        return f"an account that the API server does not name ({first_line(exc)})"


async def _open_records(case: Case, told: Told) -> Mapping[str, Census] | ZenwatchError:
    """Not where the process knows it: there may be a hundred thousand."""
    said = [told.source(watcher.name) for watcher, own in case.watchers if own.enabled]
    if all(source is not None and source.open_records is not None for source in said):
        return {}
    try:
        return await census.count_open(case.client, case.settings)
    except ZenwatchError as exc:
        return exc
