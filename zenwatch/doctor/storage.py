"""Whether records can be written: the permissions of the account, and the namespace for what has none.

In: the API server's authorizer, our own namespace.  Out: checks of the area store.
Owns: nothing.
Stops: nothing to stop.
"""

from collections.abc import Sequence

from zenwatch.doctor.check import Check, Level
from zenwatch.doctor.permissions import Account, Permission, advice, advice_where_not_asked, store_needs, told
from zenwatch.errors import Forbidden, NotFound, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call
from zenwatch.runtime.settings import Settings
from zenwatch.sdk.watcher import ApiResource

AREA = "store"
_NAMESPACES = ApiResource("", "v1", "namespaces", "Namespace", namespaced=False)


async def look(client: KubeClient, account: Account, name: str, settings: Settings) -> list[Check]:
    """name: of the account."""
    return [await _may_write(account, name, settings), await _has_namespace(client, settings.own_namespace)]


async def _may_write(account: Account, name: str, settings: Settings) -> Check:
    needs = store_needs(settings)
    try:
        missing = await account.missing(needs)
    except ZenwatchError as exc:
        return not_asked(AREA, "access", exc)
    if not missing:
        return Check(AREA, "access", Level.OK, f"{name} may write records")
    level = Level.FAIL if _is_needed(missing) else Level.WARN
    what = "records cannot be stored" if level is Level.FAIL else "old records cannot be removed"
    return Check(AREA, "access", level, f"{name} may not {told(missing)}: {what}", advice(missing, name))


def _is_needed(missing: Sequence[Permission]) -> bool:
    return any(need.verb != "delete" for need in missing)


async def _has_namespace(client: KubeClient, name: str) -> Check:
    try:
        found = await client.send(Call("get", _NAMESPACES, name=name))
    except NotFound:
        text = f"zenwatch's own namespace {name} does not exist: findings about what has no namespace cannot be stored"
        return Check(AREA, "namespace", Level.FAIL, text, (f"kubectl create namespace {name}", "or set POD_NAMESPACE to one that exists"))
    except ZenwatchError as exc:
        return Check(AREA, "namespace", Level.UNKNOWN, f"whether zenwatch's own namespace {name} exists: {first_line(exc)}")
    if (found.get("metadata") or {}).get("deletionTimestamp"):
        text = f"zenwatch's own namespace {name} is being deleted: nothing new can be stored there"
        return Check(AREA, "namespace", Level.FAIL, text, (f"Once it is gone: kubectl create namespace {name}",))
    return Check(AREA, "namespace", Level.OK, f"{name} takes what has no namespace of its own")


def not_asked(area: str, title: str, exc: ZenwatchError) -> Check:
    """The authorizer did not answer."""
    lines = advice_where_not_asked(exc) if isinstance(exc, Forbidden) else ()
    return Check(area, title, Level.UNKNOWN, f"permissions could not be asked for: {first_line(exc)}", lines)
