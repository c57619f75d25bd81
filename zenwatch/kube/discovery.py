"""What an API server says of itself: which kinds it serves, who zenwatch is to it, and what time it is there."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from zenwatch.errors import NotFound, Transient
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import Call, Discovery
from zenwatch.kube.kinds import SELF_SUBJECT_REVIEWS
from zenwatch.sdk.watcher import ApiResource


async def served_plurals(client: KubeClient, group: str, version: str) -> frozenset[str]:
    """The plurals that the API server serves now; none if it does not know the group."""
    return frozenset(str(resource.get("name")) for resource in await _resources(client, group, version))


async def find_kind(client: KubeClient, group: str, version: str, kind: str) -> ApiResource | None:
    """The kind as it stands in a URL; None if it is not served."""
    for resource in await _resources(client, group, version):
        plural = str(resource.get("name"))
        # A subresource such as pods/log may have its parent's kind.
        if resource.get("kind") == kind and "/" not in plural:
            return ApiResource(group, version, plural, kind, namespaced=bool(resource.get("namespaced")))
    return None


async def own_user_name(client: KubeClient) -> str:
    """The user name that the API server knows zenwatch by. NotFound: it is older than 1.28."""
    reviews = SELF_SUBJECT_REVIEWS
    answer = await client.send(Call("create", reviews), body={"apiVersion": f"{reviews.group}/{reviews.version}", "kind": reviews.kind})
    return str(answer["status"]["userInfo"]["username"])


async def server_time(client: KubeClient) -> datetime:
    """The API server's clock, to the second. Transient: its answer has no date."""
    request = Discovery(SELF_SUBJECT_REVIEWS.group, SELF_SUBJECT_REVIEWS.version)
    headers = await client.headers(request)
    try:
        return parsedate_to_datetime(headers.get("Date", "")).astimezone(UTC)
    except ValueError as exc:
        raise Transient(f"the answer to {request.verb} {request.path} has no date that can be read") from exc


async def _resources(client: KubeClient, group: str, version: str) -> list[dict[str, Any]]:
    try:
        answer = await client.send(Discovery(group, version))
    except NotFound:
        return []
    resources = answer.get("resources") or []
    if not isinstance(resources, list) or not all(isinstance(resource, dict) for resource in resources):
        raise Transient(f"the answer to get /apis/{group}/{version} is no list of resources")
    return resources
