"""What every check may use: what the command was given, and what examine() learned first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zenwatch.config.unknown import UnknownVariable
from zenwatch.contract import Clock
from zenwatch.doctor.cluster.object_count import ObjectCount
from zenwatch.doctor.cluster.permissions import Account
from zenwatch.doctor.process.report import ProcessReport
from zenwatch.doctor.process.status_api import StatusApi
from zenwatch.errors import ZenwatchError
from zenwatch.kube.client import KubeClient
from zenwatch.sdk.settings import WatcherSettings
from zenwatch.sdk.watcher import AnyWatcher, PushWatcher
from zenwatch.wiring.settings import Settings


@dataclass(frozen=True)
class DoctorContext:
    """api_server: its address, as it is printed. definition: the CRD of our kind that comes with this zenwatch.

    unknown_settings: variables of doctor's environment that have no effect.
    service_account: NAMESPACE/NAME of the account whose permissions are checked; empty: the client's own. is_in_pod: doctor is.
    Learned: account_name; process; open_records by source, or why they could not be counted.
    """

    settings: Settings
    watchers: Sequence[tuple[AnyWatcher, WatcherSettings]]
    client: KubeClient
    api_server: str
    status_api: StatusApi
    definition: Mapping[str, Any]
    clock: Clock
    service_account: str = ""
    is_in_pod: bool = False
    unknown_settings: Sequence[UnknownVariable] = ()
    account_name: str = ""
    process: ProcessReport = field(default_factory=lambda: ProcessReport(""))
    open_records: Mapping[str, ObjectCount] | ZenwatchError = field(default_factory=dict)

    @property
    def account(self) -> Account:
        return Account(self.client, self.service_account)

    @property
    def webhook_paths(self) -> list[str]:
        return [watcher.path for watcher, own in self.watchers if isinstance(watcher, PushWatcher) and own.enabled]
