"""Check that the API server serves our kind, and that its schema accepts what zenwatch writes."""

from collections.abc import Mapping, Sequence
from typing import Any

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.served_kinds import find_served
from zenwatch.doctor.store.schema import Differences, compare
from zenwatch.errors import Forbidden, NotFound, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call, Discovery
from zenwatch.kube.kinds import RECORDS
from zenwatch.sdk.watcher import ApiResource

AREA = "store"
APPLY = "zenwatch crds | kubectl apply -f -"
# A check names at most so many fields; whoever needs all of them compares the two CRDs.
_NAMED_FIELDS = 5

_DEFINITIONS = ApiResource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)


class _OpenApi(Discovery):
    """Asks for the OpenAPI document of a group and version."""

    @property
    def path(self) -> str:
        return f"/openapi/v3/apis/{self.group}/{self.version}"


async def crd_checks(client: KubeClient, shipped: Mapping[str, Any]) -> list[Check]:
    """shipped: the CustomResourceDefinition that comes with this zenwatch."""
    try:
        served = await find_served(client, [RECORDS])
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
    """Empty if the account may not read definitions: zenwatch's own account does not need to."""
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
