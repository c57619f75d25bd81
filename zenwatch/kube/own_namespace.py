"""zenwatch's own namespace: cluster-scoped findings, and those whose namespace takes none, are stored there."""

import structlog

from zenwatch.errors import Forbidden, NotFound, ZenwatchError, first_line
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import ONE_METADATA, Call
from zenwatch.kube.kinds import NAMESPACES

log = structlog.get_logger(component="own_namespace")


async def ensure_namespace(client: KubeClient, name: str) -> None:
    """Create it where it is missing and that is allowed; else the log says so. Raises nothing: other records can be stored."""
    try:
        await client.send(Call("get", NAMESPACES, name=name), accept=ONE_METADATA)
    except NotFound:
        await _create(client, name)
    except ZenwatchError as exc:
        # In a pod it is there, and an account that may not look is usual. An API server that is away is met by others.
        log.debug("namespace_not_read", namespace=name, error=first_line(exc))


async def _create(client: KubeClient, name: str) -> None:
    try:
        await client.send(Call("create", NAMESPACES), body={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    except Forbidden:
        advice = f"kubectl create namespace {name}, or name another one with POD_NAMESPACE"
        log.error("own_namespace_missing", namespace=name, reason=advice)  # noqa: TRY400  a sentence for a person
    except ZenwatchError as exc:
        log.warning("own_namespace_missing", namespace=name, error=first_line(exc))
    else:
        log.info("own_namespace_created", namespace=name)
