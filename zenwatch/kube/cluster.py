"""One cluster that tools write reports in: what a pull pipeline and a detector need of it."""

from dataclasses import dataclass, field

import structlog

from zenwatch.contract import OwnerResolver
from zenwatch.errors import NotFound
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import own_user_name
from zenwatch.sdk.watcher import SelfIdentity

log = structlog.get_logger(component="cluster")


@dataclass(slots=True)
class OwnAccount:
    """name: the user name that the API server knows zenwatch by; empty until learn() has asked it."""

    name: str = ""

    async def learn(self, client: KubeClient) -> None:
        """zenwatch's own writes return as audit events. If the API server is too old to name the account, the user agent tells."""
        try:
            self.name = await own_user_name(client)
        except NotFound:
            log.debug("account_unknown")


@dataclass(frozen=True, slots=True)
class Cluster:
    """id: the clusterID of its records. owners: None: findings stay with the resource that the tool names (GROUP_BY_OWNER is off).

    account, identity: zenwatch, as this cluster's API server knows it.
    """

    id: str
    client: KubeClient
    owners: OwnerResolver | None = None
    account: OwnAccount = field(default_factory=OwnAccount)
    identity: SelfIdentity = field(default_factory=SelfIdentity)
