"""One cluster that tools write reports in: what a pull pipeline and a detector need of it."""

from dataclasses import dataclass, field

from zenwatch.contract import OwnerResolver
from zenwatch.kube.client import KubeClient
from zenwatch.sdk.watcher import SelfIdentity


@dataclass(frozen=True, slots=True)
class Cluster:
    """id: the clusterID of its records. owners: None: findings stay with the resource that the tool names (GROUP_BY_OWNER is off).

    identity: zenwatch, as this cluster's API server knows it.
    """

    id: str
    client: KubeClient
    owners: OwnerResolver | None = None
    identity: SelfIdentity = field(default_factory=SelfIdentity)
