"""Read a list page by page. A page is requested by number of objects but meant in bytes: a report can be 1.5 MB, most are 20 KB."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from zenwatch.errors import Invalid
from zenwatch.kube.client import KubeClient
from zenwatch.kube.http.request import JSON, Call

# Decoded, a page takes five times that.
PAGE_TARGET_BYTES = 1024 * 1024
PAGE_FIRST_OBJECTS = 20
PAGE_MOST_OBJECTS = 500


async def pages(
    client: KubeClient,
    call: Call,
    *,
    query: Mapping[str, str] | None = None,
    accept: str = JSON,
    first_objects: int = PAGE_FIRST_OBJECTS,
) -> AsyncGenerator[Mapping[str, Any], None]:
    """Every page of a list, as the API server sends it; the last one has no continue token.

    query: selectors. first_objects: how many objects to ask for at first; later pages have about PAGE_TARGET_BYTES.
    Raises what KubeClient.send does; Expired: the list changed too much between two pages, begin anew.
    """
    limit, token = first_objects, ""
    while True:
        paged = {**(query or {}), "limit": str(limit)} | ({"continue": token} if token else {})
        try:
            page, size_bytes = await client.send_sized(call, query=paged, accept=accept)
        except Invalid:
            # The page may be too large for us or for a proxy.
            if limit == 1:
                raise
            limit = max(1, limit // 4)
            continue
        yield page
        if not (token := (page.get("metadata") or {}).get("continue") or ""):
            return
        limit = _next_limit(limit, size_bytes)


async def listed_objects(
    client: KubeClient,
    call: Call,
    *,
    query: Mapping[str, str] | None = None,
    accept: str = JSON,
    first_objects: int = PAGE_FIRST_OBJECTS,
) -> AsyncIterator[Mapping[str, Any]]:
    """Every object of a list; the arguments are those of pages()."""
    async for page in pages(client, call, query=query, accept=accept, first_objects=first_objects):
        # Go writes null for an empty list.
        for entry in page.get("items") or ():
            yield entry


def _next_limit(limit: int, size_bytes: int) -> int:
    wanted = limit * PAGE_TARGET_BYTES // max(size_bytes, 1)
    return max(1, min(wanted, limit * 4, PAGE_MOST_OBJECTS))
