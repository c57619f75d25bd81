"""Find out which kinds the API server serves, and in which versions."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zenwatch.errors import NotFound
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import served_plurals
from zenwatch.kube.http.request import Discovery
from zenwatch.sdk.watcher import ApiResource


class _GroupDiscovery(Discovery):
    """Asks for the versions of a group instead of the kinds of one version."""

    @property
    def path(self) -> str:
        return f"/apis/{self.group}"


@dataclass
class ServedKinds:
    """kinds: served in the version that zenwatch reads. elsewhere: served only in these other versions. absent: not served."""

    kinds: list[ApiResource] = field(default_factory=list)
    elsewhere: dict[ApiResource, list[str]] = field(default_factory=dict)
    absent: list[ApiResource] = field(default_factory=list)

    @property
    def asked_for(self) -> int:
        return len(self.kinds) + len(self.elsewhere) + len(self.absent)


async def find_served(client: KubeClient, kinds: Sequence[ApiResource]) -> ServedKinds:
    """Raises what KubeClient.send does."""
    found, search = ServedKinds(), _Search(client)
    for kind in kinds:
        if await search.is_served(kind, kind.version):
            found.kinds.append(kind)
        elif versions := [version for version in await search.versions(kind.group) if await search.is_served(kind, version)]:
            found.elsewhere[kind] = versions
        else:
            found.absent.append(kind)
    return found


class _Search:
    """Discovery that sends each request once."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._plurals: dict[tuple[str, str], frozenset[str]] = {}
        self._versions: dict[str, list[str]] = {}

    async def is_served(self, kind: ApiResource, version: str) -> bool:
        group_version = (kind.group, version)
        if group_version not in self._plurals:
            self._plurals[group_version] = await served_plurals(self._client, *group_version)
        return kind.plural in self._plurals[group_version]

    async def versions(self, group: str) -> list[str]:
        """The API server's preferred version first; empty if it does not know the group. The core group has only v1."""
        if not group:
            return ["v1"]
        if group not in self._versions:
            self._versions[group] = await self._versions_of(group)
        return self._versions[group]

    async def _versions_of(self, group: str) -> list[str]:
        try:
            discovered = await self._client.send(_GroupDiscovery(group, ""))
        except NotFound:
            return []
        return [str(entry.get("version")) for entry in discovered.get("versions") or ()]
