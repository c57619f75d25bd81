"""zenwatch/api/explain.py: how the last events ended."""

import pytest

from zenwatch.api.explain import explain
from zenwatch.errors import BadInput


def find(query: str) -> list[dict[str, str]]:
    return [{"key": query}] if query == "a/b" else []


async def test_the_query_is_searched_for() -> None:
    """Nothing found is an answer too."""
    assert await explain(find, {"q": "a/b"}) == [{"key": "a/b"}]
    assert await explain(find, {"q": "c"}) == []


@pytest.mark.parametrize("query", [{}, {"q": ""}, {"key": "a/b"}])
async def test_a_request_without_a_query_reads_what_it_may_be(query: dict[str, str]) -> None:
    """With all three forms."""
    with pytest.raises(BadInput, match=r"expected \?q= with a key, a record's name or an audit ID"):
        await explain(find, query)
