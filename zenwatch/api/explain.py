"""GET /explain: how the last events ended, for `zenwatch explain`."""

from collections.abc import Callable, Mapping

from zenwatch.errors import BadInput


async def explain(find: Callable[[str], list[dict[str, str]]], query: Mapping[str, str]) -> list[dict[str, str]]:
    """find: searches the outcome log by a key, a record's name or an audit ID, which is in ?q=."""
    if not query.get("q"):
        raise BadInput("nothing was asked for; expected ?q= with a key, a record's name or an audit ID")
    return find(query["q"])
