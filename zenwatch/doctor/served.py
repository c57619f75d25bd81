"""What the API server serves: our own kind, and of which version the kinds that are read.

In: its discovery, its OpenAPI, and its definition of our kind where that may be read.  Out: checks of the area store; Served for sources.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.permissions import RECORDS
from zenwatch.doctor.schema import Differences, compare
from zenwatch.errors import Forbidden, NotFound, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.discovery import served_plurals
from zenwatch.kube.http.request import Call, Discovery
from zenwatch.sdk.watcher import ApiResource

AREA = "store"
APPLY = "zenwatch crds | kubectl apply -f -"
# As many fields are named; who needs all of them compares the files.
_NAMED_FIELDS = 5

_DEFINITIONS = ApiResource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)


class _Versions(Discovery):
    @property
    def path(self) -> str:
        return f"/apis/{self.group}"


class _OpenApi(Discovery):
    @property
    def path(self) -> str:
        return f"/openapi/v3/apis/{self.group}/{self.version}"


@dataclass
class Served:
    """Of some kinds: those that are served as they are read, those that are only in other versions (which ones), and the others."""

    kinds: list[ApiResource] = field(default_factory=list)
    elsewhere: dict[ApiResource, list[str]] = field(default_factory=dict)
    absent: list[ApiResource] = field(default_factory=list)

    @property
    def asked_for(self) -> int:
        return len(self.kinds) + len(self.elsewhere) + len(self.absent)


async def find(client: KubeClient, kinds: Sequence[ApiResource]) -> Served:
    """Raises what KubeClient.send does."""
    found = Served()
    plurals = {place: await served_plurals(client, *place) for place in dict.fromkeys((kind.group, kind.version) for kind in kinds)}
    versions = {kind.group: await _versions(client, kind.group) for kind in kinds if kind.plural not in plurals[kind.group, kind.version]}
    for kind in kinds:
        if kind.plural in plurals[kind.group, kind.version]:
            found.kinds.append(kind)
            continue
        others = []
        for version in versions[kind.group]:
            place = (kind.group, version)
            if place not in plurals:
                plurals[place] = await served_plurals(client, *place)
            if kind.plural in plurals[place]:
                others.append(version)
        if others:
            found.elsewhere[kind] = others
        else:
            found.absent.append(kind)
    return found


async def _versions(client: KubeClient, group: str) -> list[str]:
    """The API server's favourite first; none where it does not know the group. The core group has one."""
    if not group:
        return ["v1"]
    try:
        answer = await client.send(_Versions(group, ""))
    except NotFound:
        return []
    return [str(entry.get("version")) for entry in answer.get("versions") or ()]


# ---------------------------------------------------------------- our own kind


async def look(client: KubeClient, shipped: Mapping[str, Any]) -> list[Check]:
    """shipped: the CustomResourceDefinition that comes with this zenwatch."""
    try:
        served = await find(client, [RECORDS])
        stored_as = await _storage_version(client)
    except ZenwatchError as exc:
        return [Check(AREA, "CRD", Level.UNKNOWN, first_line(exc))]
    name = RECORDS.full_name
    if served.elsewhere:
        others = ", ".join(served.elsewhere[RECORDS])
        text = f"{name} is served as {others}, but written as {RECORDS.version}: nothing can be stored"
        return [Check(AREA, "CRD", Level.FAIL, text, (APPLY,))]
    if served.absent:
        return [Check(AREA, "CRD", Level.FAIL, f"{name} is not served: nothing can be stored", (APPLY,))]
    text = f"{name} is served as {RECORDS.version}" + (f", stored as {stored_as}" if stored_as else "")
    return [Check(AREA, "CRD", Level.OK, text), await _compare_schemas(client, shipped)]


async def _storage_version(client: KubeClient) -> str:
    """Empty where we may not know: zenwatch's own account has no use for definitions."""
    try:
        definition = await client.send(Call("get", _DEFINITIONS, name=RECORDS.full_name))
    except (Forbidden, NotFound):
        return ""
    return next((str(version.get("name")) for version in definition["spec"]["versions"] if version.get("storage")), "")


async def _compare_schemas(client: KubeClient, shipped: Mapping[str, Any]) -> Check:
    ours = next(version["schema"]["openAPIV3Schema"] for version in shipped["spec"]["versions"] if version["name"] == RECORDS.version)
    try:
        document = await client.send(_OpenApi(RECORDS.group, RECORDS.version))
    except NotFound:
        return Check(AREA, "schema", Level.UNKNOWN, "the API server does not tell the schema (yet)")
    except ZenwatchError as exc:
        return Check(AREA, "schema", Level.UNKNOWN, first_line(exc))
    schemas = ((document.get("components") or {}).get("schemas") or {}).values()
    served = next((schema for schema in schemas if _is_ours(schema)), None)
    if served is None:
        return Check(AREA, "schema", Level.UNKNOWN, f"the API server's OpenAPI has no {RECORDS.kind}")
    return _schema_check(compare(ours, served))


def _is_ours(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("x-kubernetes-group-version-kind") or ()
    return any((kind.get("group"), kind.get("kind")) == (RECORDS.group, RECORDS.kind) for kind in kinds)


def _schema_check(found: Differences) -> Check:
    if found.narrower:
        text = f"older than this zenwatch, records may be refused: {_some(found.narrower)}"
        return Check(AREA, "schema", Level.FAIL, text, (APPLY,))
    if found.missing:
        text = f"older than this zenwatch, fields are thrown away: {_some(found.missing)}"
        return Check(AREA, "schema", Level.WARN, text, (APPLY,))
    return Check(AREA, "schema", Level.OK, "takes all that this zenwatch writes")


def _some(fields: Sequence[str]) -> str:
    more = len(fields) - _NAMED_FIELDS
    return ", ".join(fields[:_NAMED_FIELDS]) + (f" and {more} more" if more > 0 else "")
