"""Check that records can be written: the account's permissions, and the namespace for findings that have none."""

from collections.abc import Sequence

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.cluster.permissions import Permission
from zenwatch.doctor.cluster.rbac import advice, phrase, unknown_access_check
from zenwatch.doctor.context import DoctorContext
from zenwatch.doctor.store.crd import AREA
from zenwatch.doctor.store.records import store_namespaces
from zenwatch.errors import NotFound, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.kube.kinds import NAMESPACES, RECORDS
from zenwatch.wiring.settings import Settings

# deployments/base/rbac.yaml grants the same; a test compares them.
STORE_VERBS = ("create", "get", "list", "watch", "patch", "delete")
STATUS_VERBS = ("patch",)


def store_needs(settings: Settings) -> list[Permission]:
    return [
        need
        for namespace in store_namespaces(settings)
        for need in (
            *(Permission(verb, RECORDS, namespace) for verb in STORE_VERBS),
            *(Permission(verb, RECORDS, namespace, "status") for verb in STATUS_VERBS),
        )
    ]


async def access_checks(context: DoctorContext) -> list[Check]:
    return [await _permission_check(context), await _namespace_check(context.client, context.settings.own_namespace)]


async def _permission_check(context: DoctorContext) -> Check:
    account = context.account_name
    try:
        missing = await context.account.missing(store_needs(context.settings))
    except ZenwatchError as exc:
        return unknown_access_check(AREA, "access", exc)
    if not missing:
        return Check(AREA, "access", Level.OK, f"{account} may write records")
    level = Level.FAIL if _prevents_writes(missing) else Level.WARN
    effect = "records cannot be stored" if level is Level.FAIL else "old records cannot be removed"
    return Check(AREA, "access", level, f"{account} may not {phrase(missing)}: {effect}", advice(missing, account))


def _prevents_writes(missing: Sequence[Permission]) -> bool:
    return any(need.verb != "delete" for need in missing)


async def _namespace_check(client: KubeClient, name: str) -> Check:
    try:
        namespace = await client.send(Call("get", NAMESPACES, name=name))
    except NotFound:
        text = f"zenwatch's own namespace {name} does not exist: findings about what has no namespace cannot be stored"
        return Check(AREA, "namespace", Level.FAIL, text, (f"kubectl create namespace {name}", "or set POD_NAMESPACE to one that exists"))
    except ZenwatchError as exc:
        return Check(AREA, "namespace", Level.UNKNOWN, f"whether zenwatch's own namespace {name} exists: {first_line(exc)}")
    if (namespace.get("metadata") or {}).get("deletionTimestamp"):
        text = f"zenwatch's own namespace {name} is being deleted: nothing new can be stored there"
        return Check(AREA, "namespace", Level.FAIL, text, (f"Once it is gone: kubectl create namespace {name}",))
    return Check(AREA, "namespace", Level.OK, f"{name} takes what has no namespace of its own")
